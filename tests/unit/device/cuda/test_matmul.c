// Products with cuBLASLt: every algorithm of every kind of product against plain loops in double, in all types, on sizes as networks
// have them and odd ones, into poisoned results.
#include "tests/unit/device/cuda/vendor.h"

#include "stage_server/device/cuda/libraries.h"
#include "stage_server/device/cuda/matmul.h"

static cublasLtHandle_t handle;
static cudaStream_t stream;

static const struct size {
	uint32_t m, n, k;
} sizes[] = {
	{32, 64, 48}, {7, 10, 33}, {1, 5, 3}, {130, 24, 72}, {16, 1, 8}, {64, 72, 1024},
};
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]), NO_LIMIT = 32 << 20 };

struct problem {
	struct matmul_spec spec;
	struct vendor_tensor a, b, c, bias;
	float *before; // what C holds when the product is issued
	double *expected, *magnitude;
};

static double element(const struct vendor_tensor *tensor, bool transposed, uint32_t row, uint32_t column, uint32_t rows,
		      uint32_t columns)
{
	return tensor->values[transposed ? (uint64_t)column * rows + row : (uint64_t)row * columns + column];
}

static void reference(struct problem *problem)
{
	const struct matmul_spec *s = &problem->spec;
	for (uint32_t row = 0; row < s->m; row++)
		for (uint32_t column = 0; column < s->n; column++) {
			uint64_t at = (uint64_t)row * s->n + column;
			double sum = s->add ? problem->c.values[at] : s->bias ? problem->bias.values[1 + column] : 0;
			double magnitude = fabs(sum);
			for (uint32_t i = 0; i < s->k; i++) {
				double product = element(&problem->a, s->transpose_a, row, i, s->m, s->k) *
						 element(&problem->b, s->transpose_b, i, column, s->k, s->n);
				sum += product;
				magnitude += fabs(product);
			}
			problem->expected[at] = s->relu && sum < 0 ? 0 : sum;
			problem->magnitude[at] = magnitude;
		}
}

static struct problem pose(const struct matmul_spec *spec)
{
	uint64_t count = (uint64_t)spec->m * spec->n;
	struct problem problem = {
		.spec = *spec,
		.a = vendor_tensor(spec->type, (uint64_t)spec->m * spec->k, 1),
		.b = vendor_tensor(spec->type, (uint64_t)spec->k * spec->n, 2),
		.c = vendor_tensor(spec->output_type, count, spec->add ? 3 : 0),
		.bias = vendor_tensor(DATA_FLOAT32, spec->n + 1, 4),
		.before = malloc(count * sizeof(float)),
		.expected = malloc(count * sizeof(double)),
		.magnitude = malloc(count * sizeof(double)),
	};
	assert_true(problem.before != NULL && problem.expected != NULL && problem.magnitude != NULL);
	memcpy(problem.before, problem.c.values, count * sizeof(float));
	reference(&problem);
	return problem;
}

// The bias is a parameter among others, so it is aligned as a float and no better.
static const float *bias_of(const struct problem *problem)
{
	return (const float *)problem->bias.memory + 1;
}

static void drop(struct problem *problem)
{
	vendor_free(&problem->a);
	vendor_free(&problem->b);
	vendor_free(&problem->c);
	vendor_free(&problem->bias);
	free(problem->before);
	free(problem->expected);
	free(problem->magnitude);
}

static void run_algorithm(struct problem *problem, const struct matmul *matmul, uint32_t algorithm, void *workspace)
{
	struct error error = {0};
	const struct matmul_spec *s = &problem->spec;
	char name[256], what[512];
	matmul_name(matmul, algorithm, name, sizeof(name));
	assert_true(name[0] != '\0' && strpbrk(name, " \t\n") == NULL);
	snprintf(what, sizeof(what), "%s to %s, m %u n %u k %u%s%s%s%s%s: %s", data_type_name(s->type),
		 data_type_name(s->output_type), s->m, s->n, s->k, s->transpose_a ? " a'" : "",
		 s->transpose_b ? " b'" : "", s->add ? " add" : "", s->bias ? " bias" : "", s->relu ? " relu" : "",
		 name);
	memcpy(problem->c.values, problem->before, problem->c.count * sizeof(float));
	vendor_upload(&problem->c);
	vendor_ok(matmul_run(matmul, algorithm, stream, problem->a.memory, problem->b.memory,
			     s->bias ? bias_of(problem) : NULL, problem->c.memory, workspace, &error),
		  &error, what);
	vendor_expect(&problem->c, problem->expected, problem->magnitude, s->allow_tf32, what);
}

static void check(const struct matmul_spec *spec)
{
	struct error error = {0};
	struct matmul *matmul = NULL;
	struct problem problem = pose(spec);
	vendor_ok(matmul_create(handle, spec, NO_LIMIT, &matmul, &error), &error, "create");
	assert_in_range(matmul_count(matmul), 1, MATMUL_MAXIMUM_ALGORITHMS);
	void *workspace = NULL;
	if (matmul_workspace_bytes(matmul) > 0)
		vendor_check(cudaMalloc(&workspace, matmul_workspace_bytes(matmul)));
	for (uint32_t algorithm = 0; algorithm < matmul_count(matmul); algorithm++)
		run_algorithm(&problem, matmul, algorithm, workspace);
	vendor_check(cudaFree(workspace));
	matmul_destroy(matmul);
	drop(&problem);
}

// What a network's products are: to the type of their operands or to float32, each operand either way around.
static void check_type(enum data_type type, enum data_type output_type, bool add, bool bias, bool relu)
{
	for (uint32_t size = 0; size < SIZES; size++)
		for (uint32_t turned = 0; turned < 4; turned++)
			check(&(struct matmul_spec){
				.m = sizes[size].m,
				.n = sizes[size].n,
				.k = sizes[size].k,
				.transpose_a = turned & 1,
				.transpose_b = turned >> 1,
				.type = type,
				.output_type = output_type,
				.add = add,
				.bias = bias,
				.relu = relu,
			});
}

static void check_all(bool add, bool bias, bool relu)
{
	check_type(DATA_FLOAT32, DATA_FLOAT32, add, bias, relu);
	for (enum data_type type = DATA_BFLOAT16; type <= DATA_FLOAT16; type++) {
		if (!vendor_has(type))
			continue;
		check_type(type, type, add, bias, relu);
		check_type(type, DATA_FLOAT32, add, bias, relu);
	}
}

static void run_is_the_product(void **state)
{
	check_all(false, false, false);
}

static void run_with_add_adds_to_what_was_there(void **state)
{
	check_all(true, false, false);
}

static void run_with_bias_adds_it_to_each_row(void **state)
{
	check_all(false, true, false);
}

static void run_with_bias_and_relu_cuts_below_zero(void **state)
{
	check_all(false, true, true);
}

static void run_with_relu_cuts_below_zero(void **state)
{
	check_all(false, false, true);
}

static void run_with_tf32_is_near(void **state)
{
	struct matmul_spec spec = {
		.m = 32, .n = 64, .k = 48, .type = DATA_FLOAT32, .output_type = DATA_FLOAT32, .allow_tf32 = true};
	check(&spec);
	spec.transpose_b = spec.bias = spec.relu = true;
	check(&spec);
}

static void create_twice_names_the_same_algorithms(void **state)
{
	struct error error = {0};
	struct matmul_spec spec = {.m = 64, .n = 72, .k = 1024, .type = DATA_FLOAT16, .output_type = DATA_FLOAT32};
	struct matmul *matmuls[2] = {NULL, NULL};
	for (int i = 0; i < 2; i++)
		vendor_ok(matmul_create(handle, &spec, NO_LIMIT, &matmuls[i], &error), &error, "create");
	assert_int_equal(matmul_count(matmuls[0]), matmul_count(matmuls[1]));
	for (uint32_t algorithm = 0; algorithm < matmul_count(matmuls[0]); algorithm++) {
		char names[2][256];
		for (int i = 0; i < 2; i++)
			matmul_name(matmuls[i], algorithm, names[i], sizeof(names[i]));
		assert_string_equal(names[0], names[1]);
		for (uint32_t other = 0; other < algorithm; other++) {
			matmul_name(matmuls[1], other, names[1], sizeof(names[1]));
			assert_string_not_equal(names[0], names[1]);
		}
	}
	matmul_destroy(matmuls[0]);
	matmul_destroy(matmuls[1]);
}

static void create_with_a_limit_keeps_to_it(void **state)
{
	struct error error = {0};
	struct matmul_spec spec = {.m = 64, .n = 72, .k = 1024, .type = DATA_FLOAT32, .output_type = DATA_FLOAT32};
	struct matmul *matmul = NULL;
	vendor_ok(matmul_create(handle, &spec, 0, &matmul, &error), &error, "create");
	assert_int_equal(matmul_workspace_bytes(matmul), 0);
	matmul_destroy(matmul);
}

static void create_of_no_size_says_so(void **state)
{
	struct error error = {0};
	struct matmul_spec spec = {.m = 4, .n = 0, .k = 5, .type = DATA_FLOAT32, .output_type = DATA_FLOAT32};
	struct matmul *matmul = NULL;
	assert_false(matmul_create(handle, &spec, NO_LIMIT, &matmul, &error));
	assert_null(matmul);
	assert_non_null(strstr(error.message, "float32 product (4, 0) = (4, 5) (5, 0)"));
}

static void run_of_memory_that_is_not_aligned_says_so(void **state)
{
	struct error error = {0};
	struct matmul_spec spec = {.m = 4, .n = 4, .k = 4, .type = DATA_FLOAT32, .output_type = DATA_FLOAT32};
	struct matmul *matmul = NULL;
	struct problem problem = pose(&spec);
	vendor_ok(matmul_create(handle, &spec, 0, &matmul, &error), &error, "create");
	assert_false(matmul_run(matmul, 0, stream, (char *)problem.a.memory + 4, problem.b.memory, NULL,
				problem.c.memory, NULL, &error));
	assert_non_null(strstr(error.message, "aligned"));
	matmul_destroy(matmul);
	drop(&problem);
}

static int open_device(void **state)
{
	struct error error = {0};
	if (!libraries_load(&error)) {
		fprintf(stderr, "%s\n", error.message);
		return -1;
	}
	if (cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) != cudaSuccess ||
	    cublasLtCreate(&handle) != CUBLAS_STATUS_SUCCESS)
		return -1;
	return 0;
}

static int close_device(void **state)
{
	cublasLtDestroy(handle);
	cudaStreamDestroy(stream);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(run_is_the_product),
		cmocka_unit_test(run_with_add_adds_to_what_was_there),
		cmocka_unit_test(run_with_bias_adds_it_to_each_row),
		cmocka_unit_test(run_with_bias_and_relu_cuts_below_zero),
		cmocka_unit_test(run_with_relu_cuts_below_zero),
		cmocka_unit_test(run_with_tf32_is_near),
		cmocka_unit_test(create_twice_names_the_same_algorithms),
		cmocka_unit_test(create_with_a_limit_keeps_to_it),
		cmocka_unit_test(create_of_no_size_says_so),
		cmocka_unit_test(run_of_memory_that_is_not_aligned_says_so),
	};
	return cmocka_run_group_tests(tests, open_device, close_device);
}
