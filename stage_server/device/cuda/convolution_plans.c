// Convolutions with cuDNN: which graphs each pass has, which engines may compute them. See convolution_plans.h; cudnn_graph.h is the
// layer over cuDNN's descriptors.
#include "stage_server/device/cuda/convolution_plans.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage_server/device/cuda/cudnn_graph.h"
#include "stage_server/device/cuda/kernels/kernels.h"
#include "stage_server/device/cuda/status.h"

enum { UID_X = 1, UID_W, UID_Y, UID_BIAS, UID_PRODUCT, UID_SUM };

// Of a forward pass the fused graph gets the first places, up to this many: the heuristics' best choice is nearly always among
// their first.
enum { MAXIMUM_FUSED = 3 };

struct convolution_plans {
	struct convolution_spec spec;
	enum convolution_pass pass;
	bool relu;
	struct cudnn_graph *fused; // NULL where there is none
	struct cudnn_graph *plain;
	struct cudnn_graph_plan plans[CONVOLUTION_MAXIMUM_PLANS];
	uint32_t fused_count, count; // the fused ones come first
};

// ---- which engines

// The same bits each time, and sums in float32 throughout: what no spec does without. cuDNN rounds float32's factors to TF32 in its
// tensor core engines, and to less in those that convert their inputs, whatever the convolution's compute type says; which do is told
// by their notes alone (cuDNN Backend API, cudnnBackendNumericalNote_t). The latter have not even float32's range, and are
// never asked. Without TF32 the answer is to be as good as float32's, so Winograd's and FFT's are refused as well: their
// transforms lose a few bits of a sum that is direct otherwise (Lavin and Gray, Fast Algorithms for Convolutional Neural Networks,
// 2016), and errors of 1e-5 of the products' sum are what this device's tests allow.
static uint32_t refused_notes(const struct convolution_spec *spec)
{
	uint32_t notes = CUDNN_GRAPH_NOTE(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) |
			 CUDNN_GRAPH_NOTE(CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION);
	if (spec->type == DATA_FLOAT32)
		notes |= CUDNN_GRAPH_NOTE(CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS);
	if (spec->type == DATA_FLOAT32 && !spec->allow_tf32)
		notes |= CUDNN_GRAPH_NOTE(CUDNN_NUMERICAL_NOTE_TENSOR_CORE) |
			 CUDNN_GRAPH_NOTE(CUDNN_NUMERICAL_NOTE_FFT) | CUDNN_GRAPH_NOTE(CUDNN_NUMERICAL_NOTE_WINOGRAD) |
			 CUDNN_GRAPH_NOTE(CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4) |
			 CUDNN_GRAPH_NOTE(CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6) |
			 CUDNN_GRAPH_NOTE(CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13);
	return notes;
}

// cuDNN's engine 0 takes all shapes in all layouts without a workspace, and is believed to be by far the slowest (not measured here): it is
// asked where there is nothing else, and not timed against others, which a large model would wait for. The note is how it is
// told: of the engines that the heuristics of cuDNN 9.19 name for an H100 it alone has it.
#define SLOW_NOTES CUDNN_GRAPH_NOTE(CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP)

// Nearly all that cuDNN has for float32 without tensor cores reads NCHW, and rearranges all three tensors in its workspace. Of a large
// image they are more than the limit, and the one backward-input engine that does without is the slow one. So there the limit
// is what those tensors take, and some room for sums; they are small beside what the program keeps of such a layer.
uint64_t convolution_plans_limit(const struct convolution_spec *s, uint64_t usual_bytes)
{
	if (s->type != DATA_FLOAT32 || s->allow_tf32)
		return usual_bytes;
	uint64_t x = (uint64_t)s->n * s->channels * s->height * s->width;
	uint64_t y = (uint64_t)s->n * s->output_channels * s->output_height * s->output_width;
	uint64_t w = (uint64_t)s->output_channels * s->channels * s->kernel_size * s->kernel_size;
	uint64_t bytes = (x + y + w) * sizeof(float) + (32ull << 20);
	return bytes > usual_bytes ? bytes : usual_bytes;
}

// ---- the graphs

enum { X, W, Y, BIAS, PRODUCT, SUM }; // tensors of a graph, in the order in which they are added

// Of the data's memory, bytes: cuDNN's engines load whole vectors. Of a bias nothing is promised but an element's.
enum { ALIGNMENT = 16 };

static struct cudnn_graph_tensor output_tensor(const struct convolution_spec *spec, int64_t uid, enum data_type type,
					       bool inner)
{
	return (struct cudnn_graph_tensor){
		uid, type, {spec->n, spec->output_channels, spec->output_height, spec->output_width}, ALIGNMENT, inner};
}

// All of one type: with a float32 gradient of 16-bit data, which a sum over micro-batches would rather have, cuDNN has no engine.
static bool add_data(struct cudnn_graph *graph, const struct convolution_spec *spec, struct error *error)
{
	const struct cudnn_graph_tensor x = {
		UID_X, spec->type, {spec->n, spec->channels, spec->height, spec->width}, ALIGNMENT, false};
	const struct cudnn_graph_tensor w = {
		UID_W,
		spec->type,
		{spec->output_channels, spec->channels, spec->kernel_size, spec->kernel_size},
		ALIGNMENT,
		false};
	const struct cudnn_graph_tensor y = output_tensor(spec, UID_Y, spec->type, false);
	return cudnn_graph_add_tensor(graph, &x, error) && cudnn_graph_add_tensor(graph, &w, error) &&
	       cudnn_graph_add_tensor(graph, &y, error);
}

static bool describe_plain(struct cudnn_graph *graph, const struct convolution_spec *spec, enum convolution_pass pass,
			   struct error *error)
{
	static const enum cudnn_graph_convolution convolutions[] = {
		[CONVOLUTION_FORWARD] = CUDNN_GRAPH_CONVOLUTION_FORWARD,
		[CONVOLUTION_BACKWARD_INPUT] = CUDNN_GRAPH_CONVOLUTION_BACKWARD_DATA,
		[CONVOLUTION_BACKWARD_WEIGHT] = CUDNN_GRAPH_CONVOLUTION_BACKWARD_FILTER,
	};
	return add_data(graph, spec, error) &&
	       cudnn_graph_add_convolution(graph, convolutions[pass], spec->stride, spec->padding, X, W, Y, error);
}

// y = relu?(x * w + bias): a pattern that cuDNN has engines for (Graph API, "Supported Graph Patterns"). The bias is of the result's
// type: with a float32 one beside 16 bits, only engines that compile on the spot are left. What is between two operations stays in
// registers, and there in float32.
static bool describe_fused(struct cudnn_graph *graph, const struct convolution_spec *spec, bool relu,
			   struct error *error)
{
	const struct cudnn_graph_tensor bias = {
		UID_BIAS, spec->type, {1, spec->output_channels, 1, 1}, data_type_bytes(spec->type), false};
	const struct cudnn_graph_tensor product = output_tensor(spec, UID_PRODUCT, DATA_FLOAT32, true);
	const struct cudnn_graph_tensor sum = output_tensor(spec, UID_SUM, DATA_FLOAT32, true);
	if (!add_data(graph, spec, error) || !cudnn_graph_add_tensor(graph, &bias, error) ||
	    !cudnn_graph_add_tensor(graph, &product, error) ||
	    !cudnn_graph_add_convolution(graph, CUDNN_GRAPH_CONVOLUTION_FORWARD, spec->stride, spec->padding, X, W,
					 PRODUCT, error))
		return false;
	if (!relu)
		return cudnn_graph_add_sum(graph, PRODUCT, BIAS, Y, error);
	return cudnn_graph_add_tensor(graph, &sum, error) && cudnn_graph_add_sum(graph, PRODUCT, BIAS, SUM, error) &&
	       cudnn_graph_add_relu(graph, SUM, Y, error);
}

// Adds the graph's plans to those that there are, up to `maximum` in all; those of slow engines only where there is no
// other, in the plain graph, which comes last.
static bool add_plans(struct convolution_plans *plans, struct cudnn_graph *graph, cudnnHandle_t handle,
		      uint64_t limit_bytes, uint32_t maximum, const char *only, struct error *error)
{
	uint32_t count = 0, refused = refused_notes(&plans->spec);
	struct cudnn_graph_plan *into = &plans->plans[plans->count];
	if (!cudnn_graph_finalize(graph, handle, error) ||
	    (!cudnn_graph_make_plans(graph, handle, refused | SLOW_NOTES, limit_bytes, maximum - plans->count, only,
				     into, &count, error) &&
	     (graph != plans->plain || plans->count > 0 ||
	      !cudnn_graph_make_plans(graph, handle, refused, limit_bytes, maximum - plans->count, only, into, &count,
				      error))))
		return false;
	plans->count += count;
	return true;
}

static const char *pass_name(enum convolution_pass pass)
{
	return pass == CONVOLUTION_FORWARD          ? "forward"
	       : pass == CONVOLUTION_BACKWARD_INPUT ? "backward input"
						    : "backward weight";
}

static bool no_plan(const struct convolution_spec *spec, enum convolution_pass pass, struct error *error)
{
	return error_wrap(
		error,
		"cuDNN has no engine for the %s convolution of %s (%u, %u, %u, %u) with filter (%u, %u, %u, %u), "
		"stride %u, padding %u",
		pass_name(pass), data_type_name(spec->type), spec->n, spec->channels, spec->height, spec->width,
		spec->output_channels, spec->channels, spec->kernel_size, spec->kernel_size, spec->stride,
		spec->padding);
}

// The rest of `only` where it names a plan of the kind, "fused." or "plain."; NULL otherwise.
static const char *name_within(const char *only, const char *kind)
{
	return strncmp(only, kind, strlen(kind)) == 0 ? only + strlen(kind) : NULL;
}

static struct cudnn_graph *create_fused(const struct convolution_spec *spec, bool relu)
{
	struct cudnn_graph *graph = NULL;
	struct error ignored;
	if (cudnn_graph_create(&graph, &ignored) && describe_fused(graph, spec, relu, &ignored))
		return graph;
	cudnn_graph_destroy(graph);
	return NULL;
}

// Of the plans made so far those that the other graph can have, too, by the same engine and knobs.
static void keep_common(struct convolution_plans *plans, struct cudnn_graph *other, cudnnHandle_t handle,
			uint64_t limit_bytes)
{
	struct cudnn_graph_plan common[MAXIMUM_FUSED];
	struct error ignored;
	uint32_t count = 0, made = 0;
	for (uint32_t i = 0; i < plans->count; i++)
		if (cudnn_graph_make_plans(other, handle, refused_notes(&plans->spec) | SLOW_NOTES, limit_bytes, 1,
					   plans->plans[i].name, &common[count], &made, &ignored))
			plans->plans[count++] = plans->plans[i];
	plans->count = count;
	if (!plans->relu) // the plans to run are the other graph's
		memcpy(plans->plans, common, count * sizeof(common[0]));
}

// A plan must be there with the ReLU and without, so that a cut between the two leaves it a candidate; which plans are looked at, and
// in which order, the graph with the ReLU says in both cases. A known plan is known to be there. Where the fused pass has no engine, or
// none that may be asked, there is still the plain one.
static void add_fused(struct convolution_plans *plans, cudnnHandle_t handle, uint64_t limit_bytes, const char *only)
{
	struct error ignored;
	bool first_has_relu = only == NULL || plans->relu;
	struct cudnn_graph *first = create_fused(&plans->spec, first_has_relu);
	struct cudnn_graph *other = only == NULL ? create_fused(&plans->spec, false) : NULL;
	bool ok = first != NULL && (only != NULL || (other != NULL && cudnn_graph_finalize(other, handle, &ignored))) &&
		  add_plans(plans, first, handle, limit_bytes, MAXIMUM_FUSED, only, &ignored);
	if (ok && other != NULL)
		keep_common(plans, other, handle, limit_bytes);
	plans->fused = ok && first_has_relu == plans->relu ? first : ok ? other : NULL;
	if (first != plans->fused)
		cudnn_graph_destroy(first);
	if (other != plans->fused)
		cudnn_graph_destroy(other);
}

static bool create(cudnnHandle_t handle, const struct convolution_spec *spec, enum convolution_pass pass, bool relu,
		   uint64_t limit_bytes, const char *only, struct convolution_plans **ret_plans, struct error *error)
{
	struct convolution_plans *plans = calloc(1, sizeof(*plans));
	if (plans == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "no memory for the plans of a convolution");
	plans->spec = *spec;
	plans->pass = pass;
	plans->relu = relu;
	const char *fused = only != NULL ? name_within(only, "fused.") : NULL;
	const char *plain = only != NULL ? name_within(only, "plain.") : NULL;
	if (pass == CONVOLUTION_FORWARD && (only == NULL || fused != NULL))
		add_fused(plans, handle, limit_bytes, fused);
	plans->fused_count = plans->count;
	struct error last = {.code = ERROR_FAILED, .message = "no plan of that name"};
	if ((only == NULL || plain != NULL) && cudnn_graph_create(&plans->plain, &last) &&
	    describe_plain(plans->plain, spec, pass, &last))
		add_plans(plans, plans->plain, handle, limit_bytes, CONVOLUTION_MAXIMUM_PLANS, plain, &last);
	if (plans->count == 0) {
		convolution_plans_destroy(plans);
		error_set(error, last.code, "%s", last.message);
		return no_plan(spec, pass, error);
	}
	*ret_plans = plans;
	return true;
}

bool convolution_plans_create(cudnnHandle_t handle, const struct convolution_spec *spec, enum convolution_pass pass,
			      bool relu, uint64_t limit_bytes, const char *only, struct convolution_plans **ret_plans,
			      struct error *error)
{
	struct error gone;
	return (only != NULL && create(handle, spec, pass, relu, limit_bytes, only, ret_plans, &gone)) ||
	       create(handle, spec, pass, relu, limit_bytes, NULL, ret_plans, error);
}

void convolution_plans_destroy(struct convolution_plans *plans)
{
	if (plans == NULL)
		return;
	cudnn_graph_destroy(plans->fused);
	cudnn_graph_destroy(plans->plain);
	free(plans);
}

uint32_t convolution_plans_count(const struct convolution_plans *plans)
{
	return plans->count;
}

void convolution_plans_name(const struct convolution_plans *plans, uint32_t plan, char *into, size_t size)
{
	snprintf(into, size, "%s.%s", plan < plans->fused_count ? "fused" : "plain", plans->plans[plan].name);
}

uint64_t convolution_plans_workspace_bytes(const struct convolution_plans *plans)
{
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < plans->count; i++)
		if (plans->plans[i].workspace_bytes > bytes)
			bytes = plans->plans[i].workspace_bytes;
	return bytes;
}

static bool is_aligned(const void *memory)
{
	return (uintptr_t)memory % ALIGNMENT == 0;
}

bool convolution_plans_run(const struct convolution_plans *plans, uint32_t plan, cudnnHandle_t handle,
			   cudaStream_t stream, const struct convolution_tensors *tensors, void *workspace,
			   struct error *error)
{
	const int64_t uids[] = {UID_X, UID_W, UID_Y, UID_BIAS};
	void *const memory[] = {tensors->x, tensors->w, tensors->y, (void *)tensors->typed_bias};
	bool fused = plan < plans->fused_count;
	if (!is_aligned(tensors->x) || !is_aligned(tensors->w) || !is_aligned(tensors->y))
		return error_set(error, ERROR_FAILED, "a tensor of a convolution is not aligned to %d bytes",
				 ALIGNMENT);
	if (!cudnn_graph_run(&plans->plans[plan], handle, fused ? 4 : 3, uids, memory, workspace, error))
		return false;
	if (fused || plans->pass != CONVOLUTION_FORWARD)
		return true;
	const struct convolution_spec *spec = &plans->spec;
	return cuda_ok(kernel_bias(stream, spec->type, (uint64_t)spec->n * spec->output_height * spec->output_width,
				   spec->output_channels, tensors->bias, plans->relu, tensors->y),
		       error, "add the bias of a convolution");
}
