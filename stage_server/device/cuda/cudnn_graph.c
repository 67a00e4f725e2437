// Operation graphs and execution plans of cuDNN. See cudnn_graph.h.
#include "stage_server/device/cuda/cudnn_graph.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage_server/device/cuda/status.h"

// The attributes of what convolution_plans.c describes are few; a graph that wants more is a mistake of this program.
enum { MAXIMUM_TENSORS = 8, MAXIMUM_OPERATIONS = 4, MAXIMUM_PLANS = 16, SPATIAL_DIMENSIONS = 2 };

typedef cudnnBackendDescriptor_t descriptor;

struct cudnn_graph {
	descriptor tensors[MAXIMUM_TENSORS];
	uint32_t tensor_count;
	descriptor details[MAXIMUM_OPERATIONS]; // what a convolution or a pointwise operation is like
	descriptor operations[MAXIMUM_OPERATIONS];
	uint32_t operation_count;
	descriptor graph;
	descriptor plans[MAXIMUM_PLANS];
	uint32_t plan_count;
};

// ---- descriptors

static bool create(cudnnBackendDescriptorType_t type, descriptor *ret, struct error *error)
{
	descriptor made = NULL;
	if (!cudnn_ok(cudnnBackendCreateDescriptor(type, &made), error, "create a cuDNN descriptor of type %d", type))
		return false;
	*ret = made;
	return true;
}

static void destroy(descriptor *descriptor)
{
	if (*descriptor != NULL)
		cudnnBackendDestroyDescriptor(*descriptor);
	*descriptor = NULL;
}

static bool set(descriptor into, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
		const void *values, struct error *error)
{
	return cudnn_ok(cudnnBackendSetAttribute(into, name, type, count, values), error,
			"set attribute %d of a cuDNN descriptor", name);
}

static bool set_integer(descriptor into, cudnnBackendAttributeName_t name, int64_t value, struct error *error)
{
	return set(into, name, CUDNN_TYPE_INT64, 1, &value, error);
}

static bool set_float(descriptor into, cudnnBackendAttributeName_t name, float value, struct error *error)
{
	return set(into, name, CUDNN_TYPE_FLOAT, 1, &value, error);
}

static bool set_data_type(descriptor into, cudnnBackendAttributeName_t name, cudnnDataType_t value, struct error *error)
{
	return set(into, name, CUDNN_TYPE_DATA_TYPE, 1, &value, error);
}

static bool set_descriptor(descriptor into, cudnnBackendAttributeName_t name, descriptor value, struct error *error)
{
	return set(into, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value, error);
}

static bool finalize(descriptor descriptor, struct error *error, const char *what)
{
	return cudnn_ok(cudnnBackendFinalize(descriptor), error, "finalize cuDNN's %s", what);
}

static cudnnDataType_t vendor_type(enum data_type type)
{
	return type == DATA_BFLOAT16 ? CUDNN_DATA_BFLOAT16 : type == DATA_FLOAT16 ? CUDNN_DATA_HALF : CUDNN_DATA_FLOAT;
}

// ---- describing

bool cudnn_graph_create(struct cudnn_graph **ret_graph, struct error *error)
{
	struct cudnn_graph *graph = calloc(1, sizeof(*graph));
	if (graph == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "no memory for a cuDNN graph");
	*ret_graph = graph;
	return true;
}

// What was made last goes first: a plan refers to its graph, a graph to its operations, they to their tensors.
void cudnn_graph_destroy(struct cudnn_graph *graph)
{
	if (graph == NULL)
		return;
	for (uint32_t i = 0; i < MAXIMUM_PLANS; i++)
		destroy(&graph->plans[i]);
	destroy(&graph->graph);
	for (uint32_t i = 0; i < MAXIMUM_OPERATIONS; i++) {
		destroy(&graph->operations[i]);
		destroy(&graph->details[i]);
	}
	for (uint32_t i = 0; i < MAXIMUM_TENSORS; i++)
		destroy(&graph->tensors[i]);
	free(graph);
}

bool cudnn_graph_add_tensor(struct cudnn_graph *graph, const struct cudnn_graph_tensor *tensor, struct error *error)
{
	if (graph->tensor_count == MAXIMUM_TENSORS)
		return error_set(error, ERROR_FAILED, "a cuDNN graph has more than %d tensors", MAXIMUM_TENSORS);
	descriptor *made = &graph->tensors[graph->tensor_count];
	int64_t dimensions[4], strides[4];
	for (uint32_t i = 0; i < 4; i++)
		dimensions[i] = tensor->dimensions[i];
	strides[1] = 1;
	strides[3] = dimensions[1];
	strides[2] = dimensions[3] * strides[3];
	strides[0] = dimensions[2] * strides[2];
	if (!create(CUDNN_BACKEND_TENSOR_DESCRIPTOR, made, error) ||
	    !set_data_type(*made, CUDNN_ATTR_TENSOR_DATA_TYPE, vendor_type(tensor->type), error) ||
	    !set(*made, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dimensions, error) ||
	    !set(*made, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides, error) ||
	    !set_integer(*made, CUDNN_ATTR_TENSOR_UNIQUE_ID, tensor->uid, error) ||
	    !set_integer(*made, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, tensor->alignment, error) ||
	    !set(*made, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &tensor->inner, error) ||
	    !finalize(*made, error, "tensor")) {
		destroy(made);
		return false;
	}
	graph->tensor_count++;
	return true;
}

static bool may_add_operation(const struct cudnn_graph *graph, struct error *error)
{
	if (graph->operation_count == MAXIMUM_OPERATIONS)
		return error_set(error, ERROR_FAILED, "a cuDNN graph has more than %d operations", MAXIMUM_OPERATIONS);
	return true;
}

// What an operation that could not be described leaves behind, so that its place can be taken.
static bool drop_operation(struct cudnn_graph *graph)
{
	destroy(&graph->operations[graph->operation_count]);
	destroy(&graph->details[graph->operation_count]);
	return false;
}

// CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR: all sizes are given for each spatial dimension; dilation 1 is none.
static bool describe_convolution(descriptor into, uint32_t stride, uint32_t padding, struct error *error)
{
	const int64_t dilations[SPATIAL_DIMENSIONS] = {1, 1};
	const int64_t strides[SPATIAL_DIMENSIONS] = {stride, stride};
	const int64_t paddings[SPATIAL_DIMENSIONS] = {padding, padding};
	cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
	return set_data_type(into, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT, error) &&
	       set(into, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode, error) &&
	       set_integer(into, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, SPATIAL_DIMENSIONS, error) &&
	       set(into, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, SPATIAL_DIMENSIONS, dilations, error) &&
	       set(into, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, SPATIAL_DIMENSIONS, strides, error) &&
	       set(into, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, SPATIAL_DIMENSIONS, paddings, error) &&
	       set(into, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, SPATIAL_DIMENSIONS, paddings, error) &&
	       finalize(into, error, "convolution");
}

// The three operations differ in the names of their attributes alone.
static const struct convolution_names {
	cudnnBackendDescriptorType_t type;
	cudnnBackendAttributeName_t convolution, alpha, beta, x, w, y;
} convolution_names[] = {
	[CUDNN_GRAPH_CONVOLUTION_FORWARD] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
					     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
					     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
					     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
					     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
					     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
					     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y},
	[CUDNN_GRAPH_CONVOLUTION_BACKWARD_DATA] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
						   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
						   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
						   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
						   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
						   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
						   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY},
	[CUDNN_GRAPH_CONVOLUTION_BACKWARD_FILTER] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
						     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
						     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
						     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
						     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
						     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
						     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY},
};

bool cudnn_graph_add_convolution(struct cudnn_graph *graph, enum cudnn_graph_convolution convolution, uint32_t stride,
				 uint32_t padding, uint32_t x, uint32_t w, uint32_t y, struct error *error)
{
	if (!may_add_operation(graph, error))
		return false;
	descriptor *detail = &graph->details[graph->operation_count];
	descriptor *operation = &graph->operations[graph->operation_count];
	const struct convolution_names *names = &convolution_names[convolution];
	// Beta 0: what was in the result's memory is not read.
	if (!create(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, detail, error) ||
	    !describe_convolution(*detail, stride, padding, error) || !create(names->type, operation, error) ||
	    !set_descriptor(*operation, names->convolution, *detail, error) ||
	    !set_descriptor(*operation, names->x, graph->tensors[x], error) ||
	    !set_descriptor(*operation, names->w, graph->tensors[w], error) ||
	    !set_descriptor(*operation, names->y, graph->tensors[y], error) ||
	    !set_float(*operation, names->alpha, 1.0f, error) || !set_float(*operation, names->beta, 0.0f, error) ||
	    !finalize(*operation, error, "convolution's operation"))
		return drop_operation(graph);
	graph->operation_count++;
	return true;
}

// CUDNN_BACKEND_POINTWISE_DESCRIPTOR. Of a ReLU, the slope below the lower clip is 0, and the clips are 0 and infinity, where nothing
// else is set. What is no number stays so, as elsewhere in this device: it must reach the loss. (The attribute is deprecated in
// cuDNN 9, which takes it, and names nothing in its place.)
static bool describe_pointwise(descriptor into, cudnnPointwiseMode_t mode, struct error *error)
{
	const cudnnNanPropagation_t propagation = CUDNN_PROPAGATE_NAN;
	return set(into, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode, error) &&
	       set_data_type(into, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT, error) &&
	       (mode != CUDNN_POINTWISE_RELU_FWD ||
		set(into, CUDNN_ATTR_POINTWISE_NAN_PROPAGATION, CUDNN_TYPE_NAN_PROPOGATION, 1, &propagation, error)) &&
	       finalize(into, error, "pointwise operation");
}

// `b` NULL: an operation of one operand.
static bool add_pointwise(struct cudnn_graph *graph, cudnnPointwiseMode_t mode, descriptor x, descriptor b,
			  descriptor y, struct error *error)
{
	if (!may_add_operation(graph, error))
		return false;
	descriptor *detail = &graph->details[graph->operation_count];
	descriptor *operation = &graph->operations[graph->operation_count];
	if (!create(CUDNN_BACKEND_POINTWISE_DESCRIPTOR, detail, error) || !describe_pointwise(*detail, mode, error) ||
	    !create(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, operation, error) ||
	    !set_descriptor(*operation, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, *detail, error) ||
	    !set_descriptor(*operation, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x, error) ||
	    (b != NULL && !set_descriptor(*operation, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b, error)) ||
	    !set_descriptor(*operation, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y, error) ||
	    !finalize(*operation, error, "pointwise operation's operation"))
		return drop_operation(graph);
	graph->operation_count++;
	return true;
}

bool cudnn_graph_add_sum(struct cudnn_graph *graph, uint32_t x, uint32_t b, uint32_t y, struct error *error)
{
	return add_pointwise(graph, CUDNN_POINTWISE_ADD, graph->tensors[x], graph->tensors[b], graph->tensors[y],
			     error);
}

bool cudnn_graph_add_relu(struct cudnn_graph *graph, uint32_t x, uint32_t y, struct error *error)
{
	return add_pointwise(graph, CUDNN_POINTWISE_RELU_FWD, graph->tensors[x], NULL, graph->tensors[y], error);
}

bool cudnn_graph_finalize(struct cudnn_graph *graph, cudnnHandle_t handle, struct error *error)
{
	if (!create(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, &graph->graph, error) ||
	    !set(graph->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, graph->operation_count,
		 graph->operations, error) ||
	    !set(graph->graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle, error) ||
	    !finalize(graph->graph, error, "operation graph")) {
		destroy(&graph->graph);
		return false;
	}
	return true;
}

// ---- engines

// `into` is one descriptor that the caller has created; cuDNN fills and finalizes it.
static bool get_descriptor(descriptor from, cudnnBackendAttributeName_t name, descriptor into, struct error *error)
{
	int64_t count = 0;
	return cudnn_ok(cudnnBackendGetAttribute(from, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &into), error,
			"read attribute %d of a cuDNN descriptor", name);
}

static bool get_integer(descriptor from, cudnnBackendAttributeName_t name, int64_t *ret, struct error *error)
{
	int64_t count = 0;
	return cudnn_ok(cudnnBackendGetAttribute(from, name, CUDNN_TYPE_INT64, 1, &count, ret), error,
			"read attribute %d of a cuDNN descriptor", name);
}

// The engine's notes, as bits; a note that this program's headers do not know yet is none of those that it refuses.
static bool get_notes(descriptor engine, uint32_t *ret_notes, struct error *error)
{
	cudnnBackendNumericalNote_t notes[32];
	int64_t count = 0;
	if (!cudnn_ok(cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
					       CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count, notes),
		      error, "read the numerical notes of a cuDNN engine"))
		return false;
	uint32_t bits = 0;
	for (int64_t i = 0; i < count && i < CUDNN_NUMERICAL_NOTE_TYPE_COUNT; i++)
		if ((uint32_t)notes[i] < 32)
			bits |= CUDNN_GRAPH_NOTE(notes[i]);
	*ret_notes = bits;
	return true;
}

// Engines that want filter or bias in an order of their own (for int8) are of no use to anyone here.
static bool wants_other_order(descriptor engine)
{
	cudnnBackendBehaviorNote_t notes[CUDNN_BEHAVIOR_NOTE_TYPE_COUNT];
	int64_t count = 0;
	if (cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE,
				     CUDNN_BEHAVIOR_NOTE_TYPE_COUNT, &count, notes) != CUDNN_STATUS_SUCCESS)
		return false;
	for (int64_t i = 0; i < count && i < CUDNN_BEHAVIOR_NOTE_TYPE_COUNT; i++)
		if (notes[i] == CUDNN_BEHAVIOR_NOTE_REQUIRES_FILTER_INT8x32_REORDER ||
		    notes[i] == CUDNN_BEHAVIOR_NOTE_REQUIRES_BIAS_INT8x32_REORDER)
			return true;
	return false;
}

// ".k2=1": one knob that the heuristics turned.
static bool append_knob(descriptor knob, char *name, size_t size, struct error *error)
{
	cudnnBackendKnobType_t type = CUDNN_KNOB_TYPE_COUNTS;
	int64_t value = 0, count = 0;
	if (!cudnn_ok(cudnnBackendGetAttribute(knob, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &count,
					       &type),
		      error, "read a knob of a cuDNN engine") ||
	    !get_integer(knob, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, &value, error))
		return false;
	size_t used = strlen(name);
	int written = snprintf(name + used, size - used, ".k%d=%" PRId64, type, value);
	if (written < 0 || (size_t)written >= size - used)
		return error_set(error, ERROR_FAILED, "the name of a cuDNN engine with all its knobs is too long");
	return true;
}

static bool append_knobs(descriptor configuration, char *name, size_t size, struct error *error)
{
	descriptor knobs[CUDNN_KNOB_TYPE_COUNTS] = {NULL};
	bool ok = true;
	int64_t count = 0;
	for (int i = 0; ok && i < CUDNN_KNOB_TYPE_COUNTS; i++)
		ok = create(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, &knobs[i], error);
	ok = ok &&
	     cudnn_ok(cudnnBackendGetAttribute(configuration, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
					       CUDNN_TYPE_BACKEND_DESCRIPTOR, CUDNN_KNOB_TYPE_COUNTS, &count, knobs),
		      error, "read the knobs of a cuDNN engine");
	for (int64_t i = 0; ok && i < count && i < CUDNN_KNOB_TYPE_COUNTS; i++)
		ok = append_knob(knobs[i], name, size, error);
	for (int i = 0; i < CUDNN_KNOB_TYPE_COUNTS; i++)
		destroy(&knobs[i]);
	return ok;
}

// The name of what the configuration is, and whether its engine may be asked at all.
static bool examine(descriptor configuration, uint32_t refused_notes, char *name, size_t size, struct error *error)
{
	descriptor engine = NULL;
	int64_t index = 0;
	uint32_t notes = 0;
	bool ok = create(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine, error) &&
		  get_descriptor(configuration, CUDNN_ATTR_ENGINECFG_ENGINE, engine, error) &&
		  get_integer(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, &index, error) &&
		  get_notes(engine, &notes, error);
	if (ok && (notes & refused_notes) != 0)
		ok = error_set(error, ERROR_FAILED, "cuDNN's engine %" PRId64 " has numerical notes 0x%x", index,
			       notes);
	if (ok && wants_other_order(engine))
		ok = error_set(error, ERROR_FAILED, "cuDNN's engine %" PRId64 " needs a reordered filter", index);
	destroy(&engine);
	if (!ok)
		return false;
	snprintf(name, size, "engine_%" PRId64, index);
	return append_knobs(configuration, name, size, error);
}

static bool build_plan(cudnnHandle_t handle, descriptor configuration, uint64_t limit_bytes,
		       struct cudnn_graph_plan *plan, struct error *error)
{
	int64_t bytes = 0;
	descriptor made = NULL;
	bool ok = create(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &made, error) &&
		  set(made, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle, error) &&
		  set_descriptor(made, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration, error) &&
		  finalize(made, error, plan->name) &&
		  get_integer(made, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, &bytes, error);
	if (ok && (bytes < 0 || (uint64_t)bytes > limit_bytes))
		ok = error_set(error, ERROR_FAILED,
			       "cuDNN's %s needs %" PRId64 " bytes of workspace, the limit is %" PRIu64, plan->name,
			       bytes, limit_bytes);
	if (!ok) {
		destroy(&made);
		return false;
	}
	plan->plan = made;
	plan->workspace_bytes = (uint64_t)bytes;
	return true;
}

static bool is_named(const struct cudnn_graph_plan *plans, uint32_t count, const char *name)
{
	for (uint32_t i = 0; i < count; i++)
		if (strcmp(plans[i].name, name) == 0)
			return true;
	return false;
}

struct request {
	cudnnHandle_t handle;
	uint32_t refused_notes;
	uint64_t limit_bytes;
	uint32_t maximum;
	const char *only; // NULL: any name
	struct cudnn_graph_plan *plans;
	uint32_t count;
};

static void take(struct cudnn_graph *graph, struct request *request, descriptor configuration, struct error *last)
{
	struct cudnn_graph_plan *plan = &request->plans[request->count];
	if (!examine(configuration, request->refused_notes, plan->name, sizeof(plan->name), last) ||
	    is_named(request->plans, request->count, plan->name) ||
	    (request->only != NULL && strcmp(request->only, plan->name) != 0) ||
	    !build_plan(request->handle, configuration, request->limit_bytes, plan, last))
		return;
	graph->plans[graph->plan_count++] = plan->plan;
	request->count++;
}

// The heuristics' list is long, of engines that this request refuses too: all of it is looked through. Configurations that are
// not asked for by count are created first, for cuDNN to fill.
enum { MAXIMUM_CONFIGURATIONS = 64 };

static void take_configurations(struct cudnn_graph *graph, descriptor heuristic, struct request *request,
				struct error *last)
{
	descriptor found[MAXIMUM_CONFIGURATIONS] = {NULL};
	int64_t count = 0;
	bool ok = true;
	for (int i = 0; ok && i < MAXIMUM_CONFIGURATIONS; i++)
		ok = create(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &found[i], last);
	ok = ok &&
	     cudnn_ok(cudnnBackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
					       MAXIMUM_CONFIGURATIONS, &count, found),
		      last, "read what cuDNN's heuristics name");
	for (int64_t i = 0; ok && i < count && i < MAXIMUM_CONFIGURATIONS && request->count < request->maximum; i++)
		take(graph, request, found[i], last);
	for (int i = 0; i < MAXIMUM_CONFIGURATIONS; i++)
		destroy(&found[i]);
}

// Without an answer of one mode there is that of the other: what went wrong is told only where no plan comes of both.
static void ask(struct cudnn_graph *graph, cudnnBackendHeurMode_t mode, struct request *request, struct error *last)
{
	descriptor heuristic = NULL;
	if (create(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &heuristic, last) &&
	    set_descriptor(heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph->graph, last) &&
	    set(heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode, last) &&
	    finalize(heuristic, last, "heuristics"))
		take_configurations(graph, heuristic, request, last);
	destroy(&heuristic);
}

bool cudnn_graph_make_plans(struct cudnn_graph *graph, cudnnHandle_t handle, uint32_t refused_notes,
			    uint64_t limit_bytes, uint32_t maximum, const char *only,
			    struct cudnn_graph_plan *ret_plans, uint32_t *ret_count, struct error *error)
{
	struct cudnn_graph_plan plans[MAXIMUM_PLANS];
	struct request request = {.handle = handle,
				  .refused_notes = refused_notes,
				  .limit_bytes = limit_bytes,
				  .maximum = only != NULL ? 1 : maximum,
				  .only = only,
				  .plans = plans};
	if (maximum > MAXIMUM_PLANS - graph->plan_count)
		request.maximum = MAXIMUM_PLANS - graph->plan_count;
	struct error last = {.code = ERROR_FAILED, .message = "cuDNN's heuristics name no engine"};
	ask(graph, CUDNN_HEUR_MODE_A, &request, &last);
	if (request.count < request.maximum)
		ask(graph, CUDNN_HEUR_MODE_FALLBACK, &request, &last);
	if (request.count == 0)
		return error_set(error, last.code, "%s", last.message);
	memcpy(ret_plans, plans, request.count * sizeof(plans[0]));
	*ret_count = request.count;
	return true;
}

// ---- running

// The variant pack, which binds memory to uids, is made anew each time: it is a small block of the host's memory, and pointers
// differ from slot to slot. Once the launch is issued, nothing of it is needed.
bool cudnn_graph_run(const struct cudnn_graph_plan *plan, cudnnHandle_t handle, uint32_t count, const int64_t *uids,
		     void *const *memory, void *workspace, struct error *error)
{
	descriptor pack = NULL;
	bool ok = create(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack, error) &&
		  set(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, memory, error) &&
		  set(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, uids, error) &&
		  set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace, error) &&
		  finalize(pack, error, "variant pack") &&
		  cudnn_ok(cudnnBackendExecute(handle, plan->plan, pack), error, "run cuDNN's %s", plan->name);
	destroy(&pack);
	return ok;
}
