// A stand-in for cuDNN's backend API: descriptors that hold what is set, checked as strictly as cuDNN is documented to check it
// ("Backend Descriptor Types"), and an interpreter that computes an operation graph on the CPU, in float32, on the stream. It knows
// what stage_server/device/cuda/cudnn_graph.c uses and refuses all else. Its engines are made up: two that may be used, one of them with
// a workspace, one for want of others, and two that a careful caller refuses by their notes.
#include <cudnn.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "tests/cuda_stand_in/cudnn_graph.hpp"
#include "tests/cuda_stand_in/stand_in.hpp"

struct cudnnContext {
	cudaStream_t stream = nullptr;
};

using cudnn_stand_in::attribute;
using cudnn_stand_in::convolution_names;
using cudnn_stand_in::descriptor;
using cudnn_stand_in::names_of;
using cudnn_stand_in::reference;
using cudnn_stand_in::shape;
using cudnn_stand_in::tensors_of;

namespace
{
thread_local std::string last_error;

cudnnStatus_t refuse(cudnnStatus_t status, const std::string &text)
{
	last_error = text;
	return status;
}

cudnnStatus_t refuse(const std::string &text)
{
	return refuse(CUDNN_STATUS_BAD_PARAM, text);
}

// ---- descriptors

std::mutex registry_lock;
std::map<void *, reference> registry;

reference find(cudnnBackendDescriptor_t handle)
{
	std::lock_guard<std::mutex> guard(registry_lock);
	auto found = registry.find(handle);
	return found == registry.end() ? nullptr : found->second;
}

// What a descriptor has: the name, its type, how many elements, whether it must be set, and of what type a linked descriptor is.
struct rule {
	int name;
	cudnnBackendAttributeType_t type;
	int64_t least, most;
	bool required;
	int linked = -1;
};

const int any_operation = -2;

#define CONVOLUTION_RULES(prefix, x, w, y)                                                                             \
	{                                                                                                              \
		{prefix##_CONV_DESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1, true, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR}, \
			{prefix##x, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1, true, CUDNN_BACKEND_TENSOR_DESCRIPTOR},       \
			{prefix##w, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1, true, CUDNN_BACKEND_TENSOR_DESCRIPTOR},       \
			{prefix##y, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1, true, CUDNN_BACKEND_TENSOR_DESCRIPTOR},       \
			{prefix##_ALPHA, CUDNN_TYPE_FLOAT, 1, 1, true}, {prefix##_BETA, CUDNN_TYPE_FLOAT, 1, 1, true}, \
	}

const std::map<int, std::vector<rule>> rules = {
	{CUDNN_BACKEND_TENSOR_DESCRIPTOR,
	 {{CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, 1, true},
	  {CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 1, CUDNN_DIM_MAX, true},
	  {CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 1, CUDNN_DIM_MAX, true},
	  {CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, 1, true},
	  {CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, 1, true},
	  {CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, 1, false}}},
	{CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR,
	 {{CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, 1, true},
	  {CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, 1, true},
	  {CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, 1, true},
	  {CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 1, CUDNN_DIM_MAX, true},
	  {CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 1, CUDNN_DIM_MAX, true},
	  {CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 1, CUDNN_DIM_MAX, true},
	  {CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 1, CUDNN_DIM_MAX, true}}},
	{CUDNN_BACKEND_POINTWISE_DESCRIPTOR,
	 {{CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, 1, true},
	  {CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, 1, true},
	  {CUDNN_ATTR_POINTWISE_NAN_PROPAGATION, CUDNN_TYPE_NAN_PROPOGATION, 1, 1, false}}},
	{CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
	 CONVOLUTION_RULES(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD, _X, _W, _Y)},
	{CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
	 CONVOLUTION_RULES(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA, _DX, _W, _DY)},
	{CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
	 CONVOLUTION_RULES(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER, _X, _DW, _DY)},
	{CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR,
	 {{CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1, true,
	   CUDNN_BACKEND_POINTWISE_DESCRIPTOR},
	  {CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1, true,
	   CUDNN_BACKEND_TENSOR_DESCRIPTOR},
	  {CUDNN_ATTR_OPERATION_POINTWISE_BDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1, false,
	   CUDNN_BACKEND_TENSOR_DESCRIPTOR},
	  {CUDNN_ATTR_OPERATION_POINTWISE_YDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1, true,
	   CUDNN_BACKEND_TENSOR_DESCRIPTOR}}},
	{CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR,
	 {{CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, 1, true},
	  {CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 16, true, any_operation}}},
	{CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR,
	 {{CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1, true,
	   CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR},
	  {CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, 1, true}}},
	{CUDNN_BACKEND_ENGINE_DESCRIPTOR, {}},      // made by the heuristics alone
	{CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, {}},   // likewise
	{CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, {}}, // likewise
	{CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR,
	 {{CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, 1, true},
	  {CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1, true,
	   CUDNN_BACKEND_ENGINECFG_DESCRIPTOR}}},
	{CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR,
	 {{CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 1, 64, true},
	  {CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 1, 64, true},
	  {CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, 1, false}}},
};

size_t bytes_of(cudnnBackendAttributeType_t type)
{
	switch (type) {
	case CUDNN_TYPE_INT64:
	case CUDNN_TYPE_HANDLE:
	case CUDNN_TYPE_VOID_PTR:
		return 8;
	case CUDNN_TYPE_BOOLEAN:
		return 1;
	default:
		return 4; // enums and floats
	}
}

bool is_operation(int type)
{
	return type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR ||
	       type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR ||
	       type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR ||
	       type == CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR;
}

// ---- what finalizing checks

cudnnStatus_t check_tensor(const descriptor &tensor)
{
	int64_t count = tensor.attributes.at(CUDNN_ATTR_TENSOR_DIMENSIONS).count;
	if (count != 4 || tensor.attributes.at(CUDNN_ATTR_TENSOR_STRIDES).count != count)
		return refuse("a tensor has 4 dimensions and as many strides here");
	shape shape(tensor);
	int64_t span = 1;
	for (int i = 0; i < 4; i++) {
		if (shape.dimensions[i] < 1 || shape.strides[i] < 1)
			return refuse("dimensions and strides are positive");
		span += (shape.dimensions[i] - 1) * shape.strides[i];
	}
	if (span != shape.count())
		return refuse("the strides overlap or leave gaps: " + std::to_string(span) + " elements' room for " +
			      std::to_string(shape.count()));
	if (shape.alignment < 1 || (shape.alignment & (shape.alignment - 1)) != 0)
		return refuse("an alignment is a power of two");
	if (shape.type != CUDNN_DATA_FLOAT && shape.type != CUDNN_DATA_HALF && shape.type != CUDNN_DATA_BFLOAT16)
		return refuse(CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE, "a type that the stand-in has not");
	return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t check_convolution(const descriptor &convolution)
{
	if (convolution.value<int64_t>(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS) != 2)
		return refuse("2 spatial dimensions here");
	for (int name : {CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES,
			 CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS}) {
		if (convolution.attributes.at(name).count != 2)
			return refuse("an attribute of a convolution has a value for each spatial dimension");
		bool padding =
			name == CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS || name == CUDNN_ATTR_CONVOLUTION_POST_PADDINGS;
		for (int i = 0; i < 2; i++)
			if (convolution.value<int64_t>(name, i) < (padding ? 0 : 1))
				return refuse("a convolution's numbers are positive, paddings not negative");
	}
	if (convolution.value<cudnnDataType_t>(CUDNN_ATTR_CONVOLUTION_COMP_TYPE) != CUDNN_DATA_FLOAT)
		return refuse("products are added up in float32");
	if (convolution.value<cudnnConvolutionMode_t>(CUDNN_ATTR_CONVOLUTION_CONV_MODE) != CUDNN_CROSS_CORRELATION)
		return refuse(CUDNN_STATUS_NOT_SUPPORTED, "cross-correlation alone");
	return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t check_convolution_operation(const descriptor &operation)
{
	convolution_names names = names_of(operation.type);
	const descriptor &convolution = *operation.linked(names.convolution);
	shape x(*operation.linked(names.x)), w(*operation.linked(names.w)), y(*operation.linked(names.y));
	if (operation.value<float>(names.alpha) != 1.0f || operation.value<float>(names.beta) != 0.0f)
		return refuse(CUDNN_STATUS_NOT_SUPPORTED, "alpha 1 and beta 0 alone");
	if (x.dimensions[0] != y.dimensions[0] || x.dimensions[1] != w.dimensions[1] ||
	    y.dimensions[1] != w.dimensions[0])
		return refuse(CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH, "samples or channels differ");
	for (int i = 0; i < 2; i++) {
		int64_t padded = x.dimensions[2 + i] +
				 convolution.value<int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, i) +
				 convolution.value<int64_t>(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, i);
		int64_t reach =
			(w.dimensions[2 + i] - 1) * convolution.value<int64_t>(CUDNN_ATTR_CONVOLUTION_DILATIONS, i) + 1;
		int64_t step = convolution.value<int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, i);
		if (padded < reach || y.dimensions[2 + i] != (padded - reach) / step + 1)
			return refuse(CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH,
				      "the output's size is not that of input, filter, stride and padding");
	}
	return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t check_pointwise_operation(const descriptor &operation)
{
	const descriptor &pointwise = *operation.linked(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
	bool sum = pointwise.value<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE) == CUDNN_POINTWISE_ADD;
	if (sum != operation.has(CUDNN_ATTR_OPERATION_POINTWISE_BDESC))
		return refuse("an operation has as many operands as its mode says");
	shape x(*operation.linked(CUDNN_ATTR_OPERATION_POINTWISE_XDESC));
	shape y(*operation.linked(CUDNN_ATTR_OPERATION_POINTWISE_YDESC));
	for (int i = 0; i < 4; i++) {
		if (x.dimensions[i] != y.dimensions[i])
			return refuse(CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH, "x and y differ");
		if (!sum)
			continue;
		shape b(*operation.linked(CUDNN_ATTR_OPERATION_POINTWISE_BDESC));
		if (b.dimensions[i] != 1 && b.dimensions[i] != x.dimensions[i])
			return refuse(CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH, "b is no size that spreads over x");
	}
	return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t check_graph(const descriptor &graph)
{
	std::map<int64_t, reference> tensors, written, read;
	for (const reference &operation : graph.attributes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS).references) {
		std::vector<reference> reads;
		reference writes;
		tensors_of(*operation, &reads, &writes);
		for (const reference &tensor : reads)
			read[shape(*tensor).uid] = tensor;
		if (!written.emplace(shape(*writes).uid, writes).second)
			return refuse("two operations write one tensor");
		reads.push_back(writes);
		for (const reference &tensor : reads)
			if (tensors.emplace(shape(*tensor).uid, tensor).first->second != tensor)
				return refuse(CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES,
					      "two tensors of one unique id");
	}
	for (const auto &[uid, tensor] : tensors) {
		bool inner = written.count(uid) != 0 && read.count(uid) != 0;
		if (inner != shape(*tensor).is_virtual)
			return refuse("tensor " + std::to_string(uid) +
				      (inner ? " is between two operations and not virtual"
					     : " is virtual and not between two operations"));
	}
	return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t check_pack(const descriptor &pack)
{
	const attribute &uids = pack.attributes.at(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
	if (uids.count != pack.attributes.at(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS).count)
		return refuse("as many pointers as unique ids");
	std::set<int64_t> seen;
	for (int64_t i = 0; i < uids.count; i++)
		if (!seen.insert(pack.value<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, i)).second)
			return refuse(CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES, "a unique id twice");
	return CUDNN_STATUS_SUCCESS;
}

// ---- engines

// What the stand-in offers for every graph. `wrong`: it may not be run, being what the device promises not to use.
struct engine {
	int64_t index;
	std::vector<cudnnBackendNumericalNote_t> notes;
	std::vector<std::pair<int, int64_t>> knobs;
	int64_t workspace_bytes;
	bool buildable;
	bool wants_relu = false; // it takes graphs with a ReLU alone
};

const std::vector<engine> ranked_engines = {
	{90, {CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC}, {}, 0, true},
	{91, {CUDNN_NUMERICAL_NOTE_TENSOR_CORE, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION}, {}, 0, true},
	{92, {}, {{2, 9}}, 0, false},
	{5, {}, {}, 0, true, true},
	{3, {}, {{CUDNN_KNOB_TYPE_TILE_SIZE, 1}, {CUDNN_KNOB_TYPE_STAGES, 4}}, 0, true},
	{0, {CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP}, {}, 0, true},
	{7, {}, {}, 4096 + 16, true},
};
const std::vector<engine> fallback_engines = {
	{3, {}, {{CUDNN_KNOB_TYPE_TILE_SIZE, 1}, {CUDNN_KNOB_TYPE_STAGES, 4}}, 0, true},
	{7, {}, {}, 4096 + 16, true},
	{0, {CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP}, {}, 0, true},
};

const int engine_place = 1 << 20; // an attribute of the stand-in's own: the engine of a configuration

const engine &engine_of(const descriptor &configuration)
{
	return *configuration.value<const engine *>(engine_place);
}

cudnnStatus_t check_plan(const descriptor &plan)
{
	const engine &engine = engine_of(*plan.linked(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG));
	if (!engine.buildable)
		return refuse(CUDNN_STATUS_NOT_SUPPORTED, "an engine that cannot be built");
	return CUDNN_STATUS_SUCCESS;
}

// ---- reading attributes back

struct readback {
	const descriptor &from;
	cudnnBackendAttributeType_t type;
	int64_t room;
	int64_t *ret_count;
	void *ret;

	template <typename T> cudnnStatus_t give(cudnnBackendAttributeType_t as, const std::vector<T> &values) const
	{
		if (type != as)
			return refuse(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE, "an attribute of another type");
		if (ret_count != nullptr)
			*ret_count = (int64_t)values.size();
		for (int64_t i = 0; ret != nullptr && i < room && i < (int64_t)values.size(); i++)
			std::memcpy((char *)ret + i * sizeof(T), &values[i], sizeof(T));
		return CUDNN_STATUS_SUCCESS;
	}

	// Into descriptors that the caller has created, which are finalized then.
	cudnnStatus_t give(int of_type, const std::vector<reference> &made) const
	{
		if (type != CUDNN_TYPE_BACKEND_DESCRIPTOR)
			return refuse(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE, "an attribute of another type");
		if (ret_count != nullptr)
			*ret_count = (int64_t)made.size();
		for (int64_t i = 0; ret != nullptr && i < room && i < (int64_t)made.size(); i++) {
			reference into = find(((cudnnBackendDescriptor_t *)ret)[i]);
			if (into == nullptr || into->type != of_type || into->finalized)
				return refuse("a place for a descriptor is one that was created and not finalized");
			into->attributes = made[i]->attributes;
			into->finalized = true;
		}
		return CUDNN_STATUS_SUCCESS;
	}
};

bool has_relu(const descriptor &graph)
{
	for (const reference &operation : graph.attributes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS).references) {
		if (operation->type != CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR)
			continue;
		const reference &details = operation->linked(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
		if (details->value<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE) == CUDNN_POINTWISE_RELU_FWD)
			return true;
	}
	return false;
}

std::vector<reference> configurations_of(const descriptor &heuristic)
{
	auto mode = heuristic.value<cudnnBackendHeurMode_t>(CUDNN_ATTR_ENGINEHEUR_MODE);
	std::vector<reference> made;
	for (const engine &engine : mode == CUDNN_HEUR_MODE_FALLBACK ? fallback_engines : ranked_engines) {
		if (engine.wants_relu && !has_relu(*heuristic.linked(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH)))
			continue;
		auto configuration = std::make_shared<descriptor>();
		configuration->put(engine_place, CUDNN_TYPE_VOID_PTR, &engine);
		configuration->attributes[CUDNN_ATTR_ENGINE_OPERATION_GRAPH] = {
			CUDNN_TYPE_BACKEND_DESCRIPTOR,
			1,
			{},
			{heuristic.linked(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH)}};
		made.push_back(configuration);
	}
	return made;
}

cudnnStatus_t read(int name, const readback &readback)
{
	const descriptor &from = readback.from;
	switch (from.type) {
	case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR:
		if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS)
			return readback.give(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, configurations_of(from));
		break;
	case CUDNN_BACKEND_ENGINECFG_DESCRIPTOR:
		if (name == CUDNN_ATTR_ENGINECFG_ENGINE) {
			auto made = std::make_shared<descriptor>();
			made->attributes = from.attributes;
			return readback.give(CUDNN_BACKEND_ENGINE_DESCRIPTOR, std::vector<reference>{made});
		}
		if (name == CUDNN_ATTR_ENGINECFG_KNOB_CHOICES) {
			std::vector<reference> made;
			for (const auto &[type, value] : engine_of(from).knobs) {
				made.push_back(std::make_shared<descriptor>());
				made.back()->put(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, (int32_t)type);
				made.back()->put(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, value);
			}
			return readback.give(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, made);
		}
		break;
	case CUDNN_BACKEND_ENGINE_DESCRIPTOR:
		if (name == CUDNN_ATTR_ENGINE_GLOBAL_INDEX)
			return readback.give(CUDNN_TYPE_INT64, std::vector<int64_t>{engine_of(from).index});
		if (name == CUDNN_ATTR_ENGINE_NUMERICAL_NOTE)
			return readback.give(CUDNN_TYPE_NUMERICAL_NOTE, engine_of(from).notes);
		if (name == CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE)
			return readback.give(CUDNN_TYPE_BEHAVIOR_NOTE, std::vector<cudnnBackendBehaviorNote_t>{});
		break;
	case CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR:
		if (name == CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE)
			return readback.give(CUDNN_TYPE_KNOB_TYPE, std::vector<int32_t>{from.value<int32_t>(name)});
		if (name == CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE)
			return readback.give(CUDNN_TYPE_INT64, std::vector<int64_t>{from.value<int64_t>(name)});
		break;
	case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
		if (name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)
			return readback.give(
				CUDNN_TYPE_INT64,
				std::vector<int64_t>{engine_of(*from.linked(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG))
							     .workspace_bytes});
		break;
	default:
		break;
	}
	return refuse("attribute " + std::to_string(name) + " cannot be read of a descriptor of type " +
		      std::to_string(from.type));
}

// ---- running

// The memory of each tensor that is not virtual, as the pack binds it.
cudnnStatus_t bind_memory(const std::vector<reference> &operations, const descriptor &pack,
			  std::map<int64_t, void *> *ret)
{
	std::map<int64_t, void *> given;
	for (int64_t i = 0; i < pack.attributes.at(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS).count; i++)
		given[pack.value<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, i)] =
			pack.value<void *>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, i);
	for (const reference &operation : operations) {
		std::vector<reference> tensors;
		reference writes;
		tensors_of(*operation, &tensors, &writes);
		tensors.push_back(writes);
		for (const reference &tensor : tensors) {
			shape shape(*tensor);
			if (shape.is_virtual)
				continue;
			auto found = given.find(shape.uid);
			if (found == given.end() || found->second == nullptr)
				return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER,
					      "no memory for tensor " + std::to_string(shape.uid));
			if ((uintptr_t)found->second % shape.alignment != 0)
				return refuse(CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER,
					      "tensor " + std::to_string(shape.uid) + " is not aligned as it says");
			(*ret)[shape.uid] = found->second;
		}
	}
	return CUDNN_STATUS_SUCCESS;
}
} // namespace

// ---- the vendor's functions

size_t cudnnGetVersion(void)
{
	return CUDNN_VERSION;
}

const char *cudnnGetErrorString(cudnnStatus_t status)
{
	static thread_local std::string text;
	text = status == CUDNN_STATUS_SUCCESS ? "CUDNN_STATUS_SUCCESS"
					      : "CUDNN_STATUS_" + std::to_string((int)status) + "_OF_THE_STAND_IN";
	return text.c_str();
}

// Once told, it is forgotten.
void cudnnGetLastErrorString(char *into, size_t size)
{
	std::snprintf(into, size, "%s", last_error.c_str());
	last_error.clear();
}

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle)
{
	*handle = new cudnnContext;
	return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle)
{
	delete handle;
	return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream)
{
	if (handle == nullptr)
		return refuse("no handle");
	handle->stream = stream;
	return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *descriptor)
{
	if (rules.count(type) == 0)
		return refuse(CUDNN_STATUS_NOT_SUPPORTED, "a descriptor that the stand-in has not");
	auto made = std::make_shared<struct descriptor>();
	made->type = type;
	std::lock_guard<std::mutex> guard(registry_lock);
	registry[made.get()] = made;
	*descriptor = made.get();
	return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor)
{
	std::lock_guard<std::mutex> guard(registry_lock);
	if (registry.erase(descriptor) == 0)
		return refuse("not a descriptor");
	return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
				       cudnnBackendAttributeType_t type, int64_t count, const void *values)
{
	reference into = find(descriptor);
	if (into == nullptr || into->finalized)
		return refuse(into == nullptr ? "not a descriptor" : "the descriptor is finalized");
	const std::vector<rule> &known = rules.at(into->type);
	auto rule =
		std::find_if(known.begin(), known.end(), [&](const struct rule &rule) { return rule.name == name; });
	if (rule == known.end())
		return refuse("attribute " + std::to_string(name) + " is none of a descriptor of type " +
			      std::to_string(into->type));
	if (rule->type != type)
		return refuse(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE,
			      "attribute " + std::to_string(name) + " is of another type");
	if (count < rule->least || count > rule->most || values == nullptr)
		return refuse("attribute " + std::to_string(name) + " has another number of elements");
	attribute made = {type, count, {}, {}};
	if (type != CUDNN_TYPE_BACKEND_DESCRIPTOR) {
		made.bytes.assign((const char *)values, (const char *)values + count * bytes_of(type));
		if (type == CUDNN_TYPE_HANDLE && *(void *const *)values == nullptr)
			return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no handle");
	}
	for (int64_t i = 0; type == CUDNN_TYPE_BACKEND_DESCRIPTOR && i < count; i++) {
		reference linked = find(((const cudnnBackendDescriptor_t *)values)[i]);
		if (linked == nullptr)
			return refuse("not a descriptor");
		if (rule->linked == any_operation ? !is_operation(linked->type) : linked->type != rule->linked)
			return refuse(CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE, "a descriptor of another type");
		if (!linked->finalized)
			return refuse(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "a descriptor that is not finalized");
		made.references.push_back(linked);
	}
	into->attributes[name] = made;
	return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor)
{
	reference made = find(descriptor);
	if (made == nullptr || made->finalized)
		return refuse(made == nullptr ? "not a descriptor" : "the descriptor is finalized");
	for (const rule &rule : rules.at(made->type))
		if (rule.required && !made->has(rule.name))
			return refuse("attribute " + std::to_string(rule.name) + " is missing");
	cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
	switch (made->type) {
	case CUDNN_BACKEND_TENSOR_DESCRIPTOR:
		status = check_tensor(*made);
		break;
	case CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR:
		status = check_convolution(*made);
		break;
	case CUDNN_BACKEND_POINTWISE_DESCRIPTOR: {
		auto mode = made->value<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE);
		if ((mode != CUDNN_POINTWISE_ADD && mode != CUDNN_POINTWISE_RELU_FWD) ||
		    made->value<cudnnDataType_t>(CUDNN_ATTR_POINTWISE_MATH_PREC) != CUDNN_DATA_FLOAT)
			status = refuse(CUDNN_STATUS_NOT_SUPPORTED, "sums and ReLU in float32 alone");
		break;
	}
	case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR:
		status = check_pointwise_operation(*made);
		break;
	case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
		status = check_graph(*made);
		break;
	case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
		status = check_plan(*made);
		break;
	case CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR:
		status = check_pack(*made);
		break;
	case CUDNN_BACKEND_ENGINE_DESCRIPTOR:
	case CUDNN_BACKEND_ENGINECFG_DESCRIPTOR:
	case CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR:
		status = refuse(CUDNN_STATUS_NOT_SUPPORTED, "the heuristics make these here");
		break;
	default:
		if (is_operation(made->type))
			status = check_convolution_operation(*made);
	}
	made->finalized = status == CUDNN_STATUS_SUCCESS;
	return status;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const descriptor, cudnnBackendAttributeName_t name,
				       cudnnBackendAttributeType_t type, int64_t count, int64_t *ret_count, void *ret)
{
	reference from = find(descriptor);
	if (from == nullptr || !from->finalized || count < 0)
		return refuse("not a descriptor that is finalized");
	return read(name, readback{*from, type, count, ret_count, ret});
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t executionPlan,
				  cudnnBackendDescriptor_t variantPack)
{
	reference plan = find(executionPlan), pack = find(variantPack);
	if (handle == nullptr || plan == nullptr || pack == nullptr || !plan->finalized || !pack->finalized ||
	    plan->type != CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR ||
	    pack->type != CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)
		return refuse("a handle, a plan and a variant pack, finalized");
	if (plan->value<cudnnHandle_t>(CUDNN_ATTR_EXECUTION_PLAN_HANDLE) != handle)
		return refuse("the plan is another handle's");
	const descriptor &configuration = *plan->linked(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
	const engine &engine = engine_of(configuration);
	if (engine.index >= 90)
		return refuse(CUDNN_STATUS_EXECUTION_FAILED, "an engine that the device promises not to use");
	void *workspace = pack->has(CUDNN_ATTR_VARIANT_PACK_WORKSPACE)
				  ? pack->value<void *>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE)
				  : nullptr;
	if (engine.workspace_bytes > 0 && workspace == nullptr)
		return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no workspace");
	std::vector<reference> operations = configuration.linked(CUDNN_ATTR_ENGINE_OPERATION_GRAPH)
						    ->attributes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS)
						    .references;
	std::map<int64_t, void *> memory;
	cudnnStatus_t status = bind_memory(operations, *pack, &memory);
	if (status != CUDNN_STATUS_SUCCESS)
		return status;
	stand_in_load(plan.get()); // an engine is loaded when a plan of it first runs
	bool issued = stand_in_enqueue(handle->stream, [operations, memory, workspace, bytes = engine.workspace_bytes] {
		if (bytes > 0)
			std::memset(workspace, 0xa5, bytes);
		cudnn_stand_in::compute(operations, memory);
	});
	return issued ? CUDNN_STATUS_SUCCESS : refuse(CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER, "the stream");
}
