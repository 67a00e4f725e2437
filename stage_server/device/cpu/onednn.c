// oneDNN as this device uses it. What differs between its major versions is behind onednn_api.h.
#include "stage_server/device/cpu/onednn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage_server/device/cpu/onednn_api.h"

struct onednn {
	dnnl_engine_t engine;
	dnnl_stream_t stream; // of the CPU: it runs in the caller and holds no state
};

struct layout {
	api_desc desc; // owned, or of a kernel's description
};

struct kernel {
	dnnl_stream_t stream; // borrowed from the engine
	dnnl_primitive_desc_t description;
	dnnl_primitive_t primitive;
	struct layout layouts[ARGUMENT_COUNT]; // those that the kernel has
	dnnl_memory_t memories[ARGUMENT_COUNT];
	dnnl_memory_t scratchpad;
	uint64_t scratchpad_bytes;
};

static const int argument_ids[ARGUMENT_COUNT] = {
	[ARGUMENT_SOURCE] = DNNL_ARG_SRC,
	[ARGUMENT_DESTINATION] = DNNL_ARG_DST,
	[ARGUMENT_WEIGHTS] = DNNL_ARG_WEIGHTS,
	[ARGUMENT_BIAS] = DNNL_ARG_BIAS,
	[ARGUMENT_SOURCE_GRADIENT] = DNNL_ARG_DIFF_SRC,
	[ARGUMENT_DESTINATION_GRADIENT] = DNNL_ARG_DIFF_DST,
	[ARGUMENT_WEIGHTS_GRADIENT] = DNNL_ARG_DIFF_WEIGHTS,
	[ARGUMENT_BIAS_GRADIENT] = DNNL_ARG_DIFF_BIAS,
	[ARGUMENT_WORKSPACE] = DNNL_ARG_WORKSPACE,
};

static const char *status_text(dnnl_status_t status)
{
	switch (status) {
	case dnnl_out_of_memory:
		return "out of memory";
	case dnnl_invalid_arguments:
		return "invalid arguments";
	case dnnl_unimplemented:
		return "not implemented for this shape";
	case dnnl_runtime_error:
		return "runtime error";
	default:
		return "failed";
	}
}

static bool status_error(dnnl_status_t status, const char *what, struct error *error)
{
	return error_set(error, status == dnnl_out_of_memory ? ERROR_OUT_OF_MEMORY : ERROR_FAILED, "oneDNN: %s: %s",
			 what, status_text(status));
}

bool onednn_create(struct onednn **ret_onednn, struct error *error)
{
	struct onednn *onednn = calloc(1, sizeof(*onednn));
	if (onednn == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	dnnl_status_t status = dnnl_engine_create(&onednn->engine, dnnl_cpu, 0);
	if (status == dnnl_success)
		status = dnnl_stream_create(&onednn->stream, onednn->engine, dnnl_stream_default_flags);
	if (status != dnnl_success) {
		onednn_destroy(onednn);
		return status_error(status, "create the CPU engine", error);
	}
	*ret_onednn = onednn;
	return true;
}

void onednn_destroy(struct onednn *onednn)
{
	if (onednn == NULL)
		return;
	if (onednn->stream != NULL)
		dnnl_stream_destroy(onednn->stream);
	if (onednn->engine != NULL)
		dnnl_engine_destroy(onednn->engine);
	free(onednn);
}

void onednn_version(char *into, size_t size)
{
	const dnnl_version_t *version = dnnl_version();
	snprintf(into, size, "oneDNN %d.%d.%d", version->major, version->minor, version->patch);
}

static bool cpu_has(unsigned isa)
{
	return ((unsigned)dnnl_get_effective_cpu_isa() & isa) == isa;
}

void onednn_instructions(char *into, size_t size)
{
	const char *name = cpu_has(dnnl_cpu_isa_avx512_core) ? "AVX-512"
			   : cpu_has(dnnl_cpu_isa_avx2)      ? "AVX2"
			   : cpu_has(dnnl_cpu_isa_sse41)     ? "SSE4.1"
							     : "no vectors";
	snprintf(into, size, "%s", name);
}

static struct layout *layout_create(uint32_t rank, const int64_t *dimensions, dnnl_format_tag_t tag)
{
	struct layout *layout = calloc(1, sizeof(*layout));
	if (layout == NULL)
		return NULL;
	layout->desc = api_desc_create(rank, dimensions, tag);
	if (layout->desc != NULL)
		return layout;
	free(layout);
	return NULL;
}

struct layout *layout_create_plain(uint32_t rank, const int64_t *dimensions)
{
	static const dnnl_format_tag_t tags[] = {0, dnnl_a, dnnl_ab, dnnl_abc, dnnl_abcd};
	if (rank < 1 || rank > 4)
		return NULL;
	return layout_create(rank, dimensions, tags[rank]);
}

struct layout *layout_create_channels_last(const int64_t dimensions[4])
{
	return layout_create(4, dimensions, dnnl_acdb);
}

struct layout *layout_create_channels_first(const int64_t dimensions[4])
{
	return layout_create(4, dimensions, dnnl_bacd);
}

uint32_t onednn_vector_lanes(int64_t channels)
{
	if (cpu_has(dnnl_cpu_isa_avx512_core) && channels % 16 == 0)
		return 16;
	return cpu_has(dnnl_cpu_isa_avx2) && channels % 8 == 0 ? 8 : 1;
}

static dnnl_format_tag_t vector_tag(int64_t channels)
{
	uint32_t lanes = onednn_vector_lanes(channels);
	return lanes == 16 ? dnnl_nChw16c : lanes == 8 ? dnnl_nChw8c : dnnl_nchw;
}

void layout_destroy(struct layout *layout)
{
	if (layout == NULL)
		return;
	api_desc_destroy(layout->desc);
	free(layout);
}

uint64_t layout_bytes(const struct layout *layout)
{
	return dnnl_memory_desc_get_size(layout->desc);
}

bool layout_equal(const struct layout *a, const struct layout *b)
{
	return dnnl_memory_desc_equal(a->desc, b->desc) == 1;
}

// Takes the description, also on failure.
static bool kernel_finish(struct onednn *onednn, dnnl_primitive_desc_t description, struct kernel **ret_kernel,
			  struct error *error)
{
	struct kernel *kernel = calloc(1, sizeof(*kernel));
	if (kernel == NULL) {
		dnnl_primitive_desc_destroy(description);
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	}
	kernel->stream = onednn->stream;
	kernel->description = description;
	dnnl_status_t status = dnnl_primitive_create(&kernel->primitive, description);
	for (int i = 0; i < ARGUMENT_COUNT && status == dnnl_success; i++) {
		api_desc desc = dnnl_primitive_desc_query_md(description, dnnl_query_exec_arg_md, argument_ids[i]);
		if (api_desc_is_empty(desc))
			continue;
		kernel->layouts[i].desc = desc;
		status = dnnl_memory_create(&kernel->memories[i], desc, onednn->engine, DNNL_MEMORY_NONE);
	}
	api_desc scratchpad = dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
	if (status == dnnl_success && scratchpad != NULL && dnnl_memory_desc_get_size(scratchpad) > 0) {
		kernel->scratchpad_bytes = dnnl_memory_desc_get_size(scratchpad);
		status = dnnl_memory_create(&kernel->scratchpad, scratchpad, onednn->engine, DNNL_MEMORY_NONE);
	}
	if (status != dnnl_success) {
		kernel_destroy(kernel);
		return status_error(status, "create a primitive", error);
	}
	*ret_kernel = kernel;
	return true;
}

// The caller passes the scratchpad.
static dnnl_status_t make_attributes(dnnl_primitive_attr_t *ret_attributes)
{
	dnnl_status_t status = dnnl_primitive_attr_create(ret_attributes);
	return status == dnnl_success
		       ? dnnl_primitive_attr_set_scratchpad_mode(*ret_attributes, dnnl_scratchpad_mode_user)
		       : status;
}

// From a description just made, which it takes, or the reason why there is none.
static bool kernel_build(struct onednn *onednn, dnnl_status_t status, dnnl_primitive_desc_t description,
			 const char *what, struct kernel **ret_kernel, struct error *error)
{
	*ret_kernel = NULL;
	if (status == dnnl_success)
		return kernel_finish(onednn, description, ret_kernel, error);
	if (description != NULL)
		dnnl_primitive_desc_destroy(description);
	return status_error(status, what, error);
}

static void window_fini(struct api_window *w)
{
	api_desc_destroy(w->source);
	api_desc_destroy(w->weights);
	api_desc_destroy(w->bias);
	api_desc_destroy(w->destination);
}

bool kernel_create_convolution(struct onednn *onednn, enum kernel_pass pass, enum convolution_algorithm algorithm,
			       const struct window_shape *shape, const struct kernel *forward,
			       struct kernel **ret_kernel, struct error *error)
{
	int64_t source[] = {shape->n, shape->channels, shape->height, shape->width};
	int64_t weights[] = {shape->filters, shape->channels, shape->kernel_size, shape->kernel_size};
	int64_t destination[] = {shape->n, shape->filters, shape->output_height, shape->output_width};
	struct api_window w = {.source = api_desc_create(4, source, dnnl_format_tag_any),
			       .weights = api_desc_create(4, weights, dnnl_format_tag_any),
			       .bias = api_desc_create(1, &shape->filters, dnnl_a),
			       .destination = api_desc_create(4, destination, dnnl_format_tag_any),
			       .strides = {shape->stride, shape->stride},
			       .padding = {shape->padding, shape->padding}};
	dnnl_primitive_attr_t attributes = NULL;
	dnnl_primitive_desc_t description = NULL;
	bool described = w.source != NULL && w.weights != NULL && w.bias != NULL && w.destination != NULL;
	dnnl_status_t status = described ? make_attributes(&attributes) : dnnl_invalid_arguments;
	if (status == dnnl_success)
		status = api_describe_convolution(
			onednn->engine, pass,
			algorithm == ALGORITHM_DIRECT ? dnnl_convolution_direct : dnnl_convolution_winograd, &w,
			attributes, forward != NULL ? forward->description : NULL, &description);
	window_fini(&w);
	if (attributes != NULL)
		dnnl_primitive_attr_destroy(attributes);
	return kernel_build(onednn, status, description, "describe a convolution", ret_kernel, error);
}

bool kernel_create_max_pool(struct onednn *onednn, enum kernel_pass pass, const struct window_shape *shape,
			    bool training, const struct kernel *forward, struct kernel **ret_kernel,
			    struct error *error)
{
	int64_t source[] = {shape->n, shape->channels, shape->height, shape->width};
	int64_t destination[] = {shape->n, shape->channels, shape->output_height, shape->output_width};
	struct api_window w = {.source = api_desc_create(4, source, vector_tag(shape->channels)),
			       .destination = api_desc_create(4, destination, vector_tag(shape->channels)),
			       .strides = {shape->stride, shape->stride},
			       .padding = {shape->padding, shape->padding},
			       .kernel = {shape->kernel_size, shape->kernel_size}};
	dnnl_primitive_attr_t attributes = NULL;
	dnnl_primitive_desc_t description = NULL;
	bool described = w.source != NULL && w.destination != NULL;
	dnnl_status_t status = described ? make_attributes(&attributes) : dnnl_invalid_arguments;
	if (status == dnnl_success)
		status = api_describe_max_pool(onednn->engine, pass, training, &w, attributes,
					       forward != NULL ? forward->description : NULL, &description);
	window_fini(&w);
	if (attributes != NULL)
		dnnl_primitive_attr_destroy(attributes);
	return kernel_build(onednn, status, description, "describe a max pool", ret_kernel, error);
}

bool kernel_create_reorder(struct onednn *onednn, const struct layout *from, const struct layout *to,
			   struct kernel **ret_kernel, struct error *error)
{
	*ret_kernel = NULL;
	if (layout_equal(from, to))
		return true;
	dnnl_primitive_attr_t attributes = NULL;
	dnnl_primitive_desc_t description = NULL;
	dnnl_status_t status = make_attributes(&attributes);
	if (status == dnnl_success)
		status = dnnl_reorder_primitive_desc_create(&description, from->desc, onednn->engine, to->desc,
							    onednn->engine, attributes);
	if (attributes != NULL)
		dnnl_primitive_attr_destroy(attributes);
	return kernel_build(onednn, status, description, "describe a reorder", ret_kernel, error);
}

void kernel_destroy(struct kernel *kernel)
{
	if (kernel == NULL)
		return;
	for (int i = 0; i < ARGUMENT_COUNT; i++)
		if (kernel->memories[i] != NULL)
			dnnl_memory_destroy(kernel->memories[i]);
	if (kernel->scratchpad != NULL)
		dnnl_memory_destroy(kernel->scratchpad);
	if (kernel->primitive != NULL)
		dnnl_primitive_destroy(kernel->primitive);
	if (kernel->description != NULL)
		dnnl_primitive_desc_destroy(kernel->description);
	free(kernel);
}

const struct layout *kernel_layout(const struct kernel *kernel, enum kernel_argument argument)
{
	return &kernel->layouts[argument];
}

uint64_t kernel_scratchpad_bytes(const struct kernel *kernel)
{
	return kernel != NULL ? kernel->scratchpad_bytes : 0;
}

const char *kernel_name(const struct kernel *kernel)
{
	const char *name = NULL;
	if (dnnl_primitive_desc_query(kernel->description, dnnl_query_impl_info_str, 0, &name) != dnnl_success)
		return "unnamed";
	return name;
}

bool kernel_run(struct kernel *kernel, void *scratchpad, void *const pointers[ARGUMENT_COUNT])
{
	dnnl_exec_arg_t arguments[ARGUMENT_COUNT + 1];
	int count = 0;
	for (int i = 0; i < ARGUMENT_COUNT; i++) {
		if (kernel->memories[i] == NULL)
			continue;
		if (pointers[i] == NULL ||
		    dnnl_memory_set_data_handle(kernel->memories[i], pointers[i]) != dnnl_success)
			return false;
		arguments[count++] = (dnnl_exec_arg_t){argument_ids[i], kernel->memories[i]};
	}
	if (kernel->scratchpad != NULL) {
		if (dnnl_memory_set_data_handle(kernel->scratchpad, scratchpad) != dnnl_success)
			return false;
		arguments[count++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, kernel->scratchpad};
	}
	return dnnl_primitive_execute(kernel->primitive, kernel->stream, count, arguments) == dnnl_success &&
	       dnnl_stream_wait(kernel->stream) == dnnl_success;
}

bool onednn_sgemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
		  const float *b, int64_t ldb, float beta, float *c, int64_t ldc)
{
	return dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', m, n, k, 1.0f, a, lda, b, ldb, beta, c,
			  ldc) == dnnl_success;
}
