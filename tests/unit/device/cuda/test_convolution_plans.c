// Convolutions with cuDNN: every plan of every pass against plain loops in double, in all types, on shapes as networks have them
// and odd ones, into poisoned results.
#include "tests/unit/device/cuda/vendor.h"

#include "stage_server/device/cuda/convolution_plans.h"
#include "stage_server/device/cuda/libraries.h"

static cudnnHandle_t handle;
static cudaStream_t stream;

static const struct shape {
	uint32_t n, channels, height, width, output_channels, kernel_size, stride, padding;
} shapes[] = {
	{4, 16, 12, 12, 24, 3, 1, 1}, // VGG's kind
	{2, 8, 35, 35, 16, 11, 4, 2}, // AlexNet's first layer, its channels padded
	{3, 8, 9, 7, 8, 5, 1, 2},     // neither square nor even
	{1, 8, 3, 3, 8, 3, 1, 0},     // one position
	{5, 24, 6, 5, 40, 1, 2, 0},   // rows and columns that no filter reaches
};
enum { SHAPES = sizeof(shapes) / sizeof(shapes[0]), NO_LIMIT = 1 << 30 };

static struct convolution_spec spec_of(const struct shape *shape, enum data_type type, bool tf32)
{
	return (struct convolution_spec){
		.n = shape->n,
		.channels = shape->channels,
		.height = shape->height,
		.width = shape->width,
		.output_channels = shape->output_channels,
		.output_height = (shape->height + 2 * shape->padding - shape->kernel_size) / shape->stride + 1,
		.output_width = (shape->width + 2 * shape->padding - shape->kernel_size) / shape->stride + 1,
		.kernel_size = shape->kernel_size,
		.stride = shape->stride,
		.padding = shape->padding,
		.type = type,
		.allow_tf32 = tf32,
	};
}

struct problem {
	struct convolution_spec spec;
	struct vendor_tensor x, w, bias, typed_bias, y;
	double *expected, *magnitude; // of the tensor that the pass computes
};

static struct vendor_tensor *result_of(struct problem *problem, enum convolution_pass pass)
{
	return pass == CONVOLUTION_FORWARD          ? &problem->y
	       : pass == CONVOLUTION_BACKWARD_INPUT ? &problem->x
						    : &problem->w;
}

static uint64_t result_key(enum convolution_pass pass, enum convolution_pass computed_by, uint64_t key)
{
	return pass == computed_by ? 0 : key;
}

// expected[place of the result] += the product of the other two, for each product that a convolution has; (N, H, W, C) and
// (K, R, S, C).
static void reference(struct problem *problem, enum convolution_pass pass, bool relu)
{
	const struct convolution_spec *s = &problem->spec;
	for (uint32_t n = 0; n < s->n; n++)
		for (uint32_t oh = 0; oh < s->output_height; oh++)
			for (uint32_t ow = 0; ow < s->output_width; ow++)
				for (uint32_t k = 0; k < s->output_channels; k++)
					for (uint32_t r = 0; r < s->kernel_size; r++)
						for (uint32_t q = 0; q < s->kernel_size; q++) {
							int64_t h = (int64_t)oh * s->stride + r - s->padding,
								w = (int64_t)ow * s->stride + q - s->padding;
							if (h < 0 || h >= s->height || w < 0 || w >= s->width)
								continue;
							for (uint32_t c = 0; c < s->channels; c++) {
								uint64_t at_x =
									((n * (uint64_t)s->height + h) * s->width + w) *
										s->channels +
									c;
								uint64_t at_w = ((k * (uint64_t)s->kernel_size + r) *
											 s->kernel_size +
										 q) * s->channels +
										c;
								uint64_t at_y = ((n * (uint64_t)s->output_height + oh) *
											 s->output_width +
										 ow) * s->output_channels +
										k;
								double product =
									pass == CONVOLUTION_FORWARD
										? (double)problem->x.values[at_x] *
											  problem->w.values[at_w]
									: pass == CONVOLUTION_BACKWARD_INPUT
										? (double)problem->y.values[at_y] *
											  problem->w.values[at_w]
										: (double)problem->y.values[at_y] *
											  problem->x.values[at_x];
								uint64_t at = pass == CONVOLUTION_FORWARD ? at_y
									      : pass == CONVOLUTION_BACKWARD_INPUT
										      ? at_x
										      : at_w;
								problem->expected[at] += product;
								problem->magnitude[at] += fabs(product);
							}
						}
	for (uint64_t i = 0; pass == CONVOLUTION_FORWARD && i < problem->y.count; i++) {
		float bias = problem->bias.values[1 + i % s->output_channels];
		problem->expected[i] += bias;
		problem->magnitude[i] += fabs(bias);
		if (relu && problem->expected[i] < 0)
			problem->expected[i] = 0;
	}
}

static struct problem pose(const struct convolution_spec *spec, enum convolution_pass pass, bool relu)
{
	uint64_t x = (uint64_t)spec->n * spec->channels * spec->height * spec->width;
	uint64_t w = (uint64_t)spec->output_channels * spec->channels * spec->kernel_size * spec->kernel_size;
	uint64_t y = (uint64_t)spec->n * spec->output_channels * spec->output_height * spec->output_width;
	struct problem problem = {
		.spec = *spec,
		.x = vendor_tensor(spec->type, x, result_key(pass, CONVOLUTION_BACKWARD_INPUT, 1)),
		.w = vendor_tensor(spec->type, w, result_key(pass, CONVOLUTION_BACKWARD_WEIGHT, 2)),
		.bias = vendor_tensor(DATA_FLOAT32, spec->output_channels + 1, 3),
		.typed_bias = vendor_tensor(spec->type, spec->output_channels + 1, 3),
		.y = vendor_tensor(spec->type, y, result_key(pass, CONVOLUTION_FORWARD, 4)),
	};
	memcpy(problem.bias.values, problem.typed_bias.values, problem.bias.count * sizeof(float));
	vendor_upload(&problem.bias);
	uint64_t count = result_of(&problem, pass)->count;
	problem.expected = calloc(count, sizeof(double));
	problem.magnitude = calloc(count, sizeof(double));
	assert_true(problem.expected != NULL && problem.magnitude != NULL);
	reference(&problem, pass, relu);
	return problem;
}

// The bias is aligned as an element and no better.
static struct convolution_tensors tensors_of(const struct problem *problem)
{
	return (struct convolution_tensors){
		.x = problem->x.memory,
		.w = problem->w.memory,
		.bias = (const float *)problem->bias.memory + 1,
		.typed_bias = (const char *)problem->typed_bias.memory + data_type_bytes(problem->spec.type),
		.y = problem->y.memory,
	};
}

static void drop(struct problem *problem)
{
	vendor_free(&problem->x);
	vendor_free(&problem->w);
	vendor_free(&problem->bias);
	vendor_free(&problem->typed_bias);
	vendor_free(&problem->y);
	free(problem->expected);
	free(problem->magnitude);
}

static void run_plan(struct problem *problem, enum convolution_pass pass, const struct convolution_plans *plans,
		     uint32_t plan, void *workspace)
{
	struct error error = {0};
	char name[256] = "";
	convolution_plans_name(plans, plan, name, sizeof(name));
	assert_true(name[0] != '\0' && strpbrk(name, " \t\n") == NULL);
	struct convolution_tensors tensors = tensors_of(problem);
	struct vendor_tensor *result = result_of(problem, pass);
	for (uint64_t i = 0; i < result->count; i++)
		result->values[i] = NAN;
	vendor_upload(result);
	vendor_ok(convolution_plans_run(plans, plan, handle, stream, &tensors, workspace, &error), &error, name);
	vendor_expect(result, problem->expected, problem->magnitude, problem->spec.allow_tf32, name);
}

static void check(const struct convolution_spec *spec, enum convolution_pass pass, bool relu)
{
	struct error error = {0};
	struct convolution_plans *plans = NULL;
	struct problem problem = pose(spec, pass, relu);
	vendor_ok(convolution_plans_create(handle, spec, pass, relu, NO_LIMIT, NULL, &plans, &error), &error, "create");
	assert_in_range(convolution_plans_count(plans), 1, CONVOLUTION_MAXIMUM_PLANS);
	void *workspace = NULL;
	if (convolution_plans_workspace_bytes(plans) > 0)
		vendor_check(cudaMalloc(&workspace, convolution_plans_workspace_bytes(plans)));
	for (uint32_t plan = 0; plan < convolution_plans_count(plans); plan++)
		run_plan(&problem, pass, plans, plan, workspace);
	vendor_check(cudaFree(workspace));
	convolution_plans_destroy(plans);
	drop(&problem);
}

static void check_all(enum convolution_pass pass, bool relu)
{
	for (uint32_t shape = 0; shape < SHAPES; shape++)
		for (enum data_type type = 0; type < DATA_TYPE_COUNT; type++) {
			struct convolution_spec spec = spec_of(&shapes[shape], type, false);
			if (vendor_has(type))
				check(&spec, pass, relu);
		}
}

static void run_forward_with_bias_is_the_convolution(void **state)
{
	check_all(CONVOLUTION_FORWARD, false);
}

static void run_forward_with_relu_cuts_below_zero(void **state)
{
	check_all(CONVOLUTION_FORWARD, true);
}

static void run_backward_input_is_the_gradient(void **state)
{
	check_all(CONVOLUTION_BACKWARD_INPUT, false);
}

static void run_backward_weight_is_the_gradient(void **state)
{
	check_all(CONVOLUTION_BACKWARD_WEIGHT, false);
}

static void run_with_tf32_is_near(void **state)
{
	struct convolution_spec spec = spec_of(&shapes[0], DATA_FLOAT32, true);
	for (enum convolution_pass pass = CONVOLUTION_FORWARD; pass <= CONVOLUTION_BACKWARD_WEIGHT; pass++)
		check(&spec, pass, pass == CONVOLUTION_FORWARD);
}

// As in every network that diverges: the loss must say so, so nothing on the way may turn it into a number.
static void check_no_number(enum data_type type)
{
	struct error error = {0};
	struct convolution_spec spec = spec_of(&shapes[0], type, false);
	struct problem problem = pose(&spec, CONVOLUTION_FORWARD, true);
	struct convolution_plans *plans = NULL;
	vendor_ok(convolution_plans_create(handle, &spec, CONVOLUTION_FORWARD, true, 0, NULL, &plans, &error), &error,
		  "create");
	problem.x.values[0] = NAN;
	vendor_upload(&problem.x);
	for (uint32_t plan = 0; plan < convolution_plans_count(plans); plan++) {
		struct convolution_tensors tensors = tensors_of(&problem);
		uint8_t memory[2 * sizeof(float)];
		float found[2] = {0, 0};
		memset(problem.y.values, 0, problem.y.count * sizeof(float));
		vendor_upload(&problem.y);
		vendor_ok(convolution_plans_run(plans, plan, handle, stream, &tensors, NULL, &error), &error, "run");
		vendor_check(cudaDeviceSynchronize());
		vendor_check(cudaMemcpy(memory, problem.y.memory, 2 * data_type_bytes(type), cudaMemcpyDeviceToHost));
		data_type_widen(type, 2, memory, found);
		assert_true(isnan(found[0]) && isnan(found[1]));
	}
	convolution_plans_destroy(plans);
	drop(&problem);
}

static void run_of_what_is_no_number_gives_none(void **state)
{
	for (enum data_type type = 0; type < DATA_TYPE_COUNT; type++)
		if (vendor_has(type))
			check_no_number(type);
}

// Also where one ends with a ReLU and one does not: a cut between the two changes no plan.
static void create_twice_names_the_same_plans(void **state)
{
	struct error error = {0};
	struct convolution_spec spec = spec_of(&shapes[0], DATA_FLOAT16, false);
	struct convolution_plans *plans[2] = {NULL, NULL};
	for (int i = 0; i < 2; i++)
		vendor_ok(convolution_plans_create(handle, &spec, CONVOLUTION_FORWARD, i == 1, NO_LIMIT, NULL,
						   &plans[i], &error),
			  &error, "create");
	assert_int_equal(convolution_plans_count(plans[0]), convolution_plans_count(plans[1]));
	for (uint32_t plan = 0; plan < convolution_plans_count(plans[0]); plan++) {
		char names[2][256];
		for (int i = 0; i < 2; i++)
			convolution_plans_name(plans[i], plan, names[i], sizeof(names[i]));
		assert_string_equal(names[0], names[1]);
		for (uint32_t other = 0; other < plan; other++) {
			convolution_plans_name(plans[1], other, names[1], sizeof(names[1]));
			assert_string_not_equal(names[0], names[1]);
		}
	}
	convolution_plans_destroy(plans[0]);
	convolution_plans_destroy(plans[1]);
}

static void create_forward_offers_fused_and_plain_plans(void **state)
{
	for (enum data_type type = 0; type < DATA_TYPE_COUNT; type++) {
		struct error error = {0};
		struct convolution_spec spec = spec_of(&shapes[0], type, false);
		struct convolution_plans *plans = NULL;
		if (!vendor_has(type))
			continue;
		vendor_ok(convolution_plans_create(handle, &spec, CONVOLUTION_FORWARD, true, NO_LIMIT, NULL, &plans,
						   &error),
			  &error, "create");
		char first[256], last[256];
		convolution_plans_name(plans, 0, first, sizeof(first));
		convolution_plans_name(plans, convolution_plans_count(plans) - 1, last, sizeof(last));
		assert_memory_equal(first, "fused.", 6);
		assert_memory_equal(last, "plain.", 6);
		convolution_plans_destroy(plans);
	}
}

static void create_with_a_limit_keeps_to_it(void **state)
{
	struct error error = {0};
	struct convolution_spec spec = spec_of(&shapes[0], DATA_FLOAT32, false);
	struct convolution_plans *plans = NULL;
	vendor_ok(convolution_plans_create(handle, &spec, CONVOLUTION_FORWARD, true, 1 << 16, NULL, &plans, &error),
		  &error, "create");
	assert_in_range(convolution_plans_workspace_bytes(plans), 0, 1 << 16);
	convolution_plans_destroy(plans);
}

// An output's size that does not follow from the rest: there is no such convolution.
static void create_of_what_is_no_convolution_says_so(void **state)
{
	struct error error = {0};
	struct convolution_spec spec = spec_of(&shapes[0], DATA_FLOAT32, false);
	struct convolution_plans *plans = NULL;
	spec.output_height++;
	assert_false(
		convolution_plans_create(handle, &spec, CONVOLUTION_FORWARD, true, NO_LIMIT, NULL, &plans, &error));
	assert_null(plans);
	assert_int_equal(error.code, ERROR_FAILED);
	assert_non_null(
		strstr(error.message, "forward convolution of float32 (4, 16, 12, 12) with filter (24, 16, 3, 3)"));
}

static void run_of_memory_that_is_not_aligned_says_so(void **state)
{
	struct error error = {0};
	struct convolution_spec spec = spec_of(&shapes[3], DATA_FLOAT32, false);
	struct convolution_plans *plans = NULL;
	struct problem problem = pose(&spec, CONVOLUTION_BACKWARD_INPUT, false);
	vendor_ok(convolution_plans_create(handle, &spec, CONVOLUTION_BACKWARD_INPUT, false, 0, NULL, &plans, &error),
		  &error, "create");
	struct convolution_tensors tensors = tensors_of(&problem);
	tensors.w = (char *)problem.w.memory + 4;
	assert_false(convolution_plans_run(plans, 0, handle, stream, &tensors, NULL, &error));
	assert_non_null(strstr(error.message, "aligned"));
	convolution_plans_destroy(plans);
	drop(&problem);
}

// What the tuning file remembers is built alone; a name that is no plan's any more changes nothing.
static void create_of_a_known_name_builds_that_plan_alone(void **state)
{
	struct error error = {0};
	struct convolution_spec spec = {.n = 2,
					.channels = 8,
					.height = 9,
					.width = 9,
					.output_channels = 16,
					.output_height = 9,
					.output_width = 9,
					.kernel_size = 3,
					.stride = 1,
					.padding = 1,
					.type = DATA_FLOAT16};
	struct convolution_plans *all = NULL, *one = NULL;
	char name[160], again[160];
	vendor_ok(convolution_plans_create(handle, &spec, CONVOLUTION_FORWARD, true, NO_LIMIT, NULL, &all, &error),
		  &error, "create");
	assert_true(convolution_plans_count(all) > 1);
	for (uint32_t i = 0; i < convolution_plans_count(all); i++) {
		convolution_plans_name(all, i, name, sizeof(name));
		assert_string_not_equal(name, "plain.engine_0"); // the slow one
		vendor_ok(convolution_plans_create(handle, &spec, CONVOLUTION_FORWARD, true, NO_LIMIT, name, &one,
						   &error),
			  &error, name);
		assert_int_equal(convolution_plans_count(one), 1);
		convolution_plans_name(one, 0, again, sizeof(again));
		assert_string_equal(name, again);
		convolution_plans_destroy(one);
	}
	vendor_ok(convolution_plans_create(handle, &spec, CONVOLUTION_FORWARD, true, NO_LIMIT, "plain.engine_999", &one,
					   &error),
		  &error, "an unknown name");
	assert_int_equal(convolution_plans_count(one), convolution_plans_count(all));
	convolution_plans_destroy(one);
	convolution_plans_destroy(all);
}

// Naming it leaves no other.
static void create_without_another_engine_takes_the_slow_one(void **state)
{
	struct error error = {0};
	struct convolution_spec spec = {.n = 2,
					.channels = 8,
					.height = 9,
					.width = 9,
					.output_channels = 16,
					.output_height = 9,
					.output_width = 9,
					.kernel_size = 3,
					.stride = 1,
					.padding = 1,
					.type = DATA_FLOAT32};
	struct convolution_plans *plans = NULL;
	char name[160];
	for (enum convolution_pass pass = CONVOLUTION_FORWARD; pass <= CONVOLUTION_BACKWARD_WEIGHT; pass++) {
		vendor_ok(convolution_plans_create(handle, &spec, pass, false, NO_LIMIT, "plain.engine_0", &plans,
						   &error),
			  &error, "create");
		assert_int_equal(convolution_plans_count(plans), 1);
		convolution_plans_name(plans, 0, name, sizeof(name));
		assert_string_equal(name, "plain.engine_0");
		convolution_plans_destroy(plans);
	}
}

static int open_device(void **state)
{
	struct error error = {0};
	if (!libraries_load(&error)) {
		fprintf(stderr, "%s\n", error.message);
		return -1;
	}
	if (cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) != cudaSuccess ||
	    cudnnCreate(&handle) != CUDNN_STATUS_SUCCESS || cudnnSetStream(handle, stream) != CUDNN_STATUS_SUCCESS)
		return -1;
	return 0;
}

static int close_device(void **state)
{
	cudnnDestroy(handle);
	cudaStreamDestroy(stream);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(run_forward_with_bias_is_the_convolution),
		cmocka_unit_test(run_forward_with_relu_cuts_below_zero),
		cmocka_unit_test(run_backward_input_is_the_gradient),
		cmocka_unit_test(run_backward_weight_is_the_gradient),
		cmocka_unit_test(run_with_tf32_is_near),
		cmocka_unit_test(run_of_what_is_no_number_gives_none),
		cmocka_unit_test(create_twice_names_the_same_plans),
		cmocka_unit_test(create_forward_offers_fused_and_plain_plans),
		cmocka_unit_test(create_with_a_limit_keeps_to_it),
		cmocka_unit_test(create_of_a_known_name_builds_that_plan_alone),
		cmocka_unit_test(create_without_another_engine_takes_the_slow_one),
		cmocka_unit_test(create_of_what_is_no_convolution_says_so),
		cmocka_unit_test(run_of_memory_that_is_not_aligned_says_so),
	};
	return cmocka_run_group_tests(tests, open_device, close_device);
}
