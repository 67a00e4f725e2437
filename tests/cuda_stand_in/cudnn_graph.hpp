// What the two files of cuDNN's stand-in share: a descriptor as it is set, what an operation reads and writes, and the computing of
// a graph.
#pragma once

#include <cudnn.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

namespace cudnn_stand_in
{
struct descriptor;
using reference = std::shared_ptr<descriptor>;

struct attribute {
	cudnnBackendAttributeType_t type;
	int64_t count;
	std::vector<char> bytes;           // of all types but descriptors
	std::vector<reference> references; // of descriptors
};

struct descriptor {
	cudnnBackendDescriptorType_t type;
	bool finalized = false;
	std::map<int, attribute> attributes;

	bool has(int name) const
	{
		return attributes.count(name) != 0;
	}
	template <typename T> T value(int name, size_t at = 0) const
	{
		T result;
		std::memcpy(&result, attributes.at(name).bytes.data() + at * sizeof(T), sizeof(T));
		return result;
	}
	template <typename T> void put(int name, cudnnBackendAttributeType_t type, T value)
	{
		attribute made = {type, 1, std::vector<char>(sizeof(T)), {}};
		std::memcpy(made.bytes.data(), &value, sizeof(T));
		attributes[name] = made;
	}
	const reference &linked(int name, size_t at = 0) const
	{
		return attributes.at(name).references.at(at);
	}
};

// A tensor's descriptor, once it is finalized.
struct shape {
	int64_t dimensions[4], strides[4];
	cudnnDataType_t type;
	int64_t uid, alignment;
	bool is_virtual;

	explicit shape(const descriptor &tensor)
	{
		for (int i = 0; i < 4; i++) {
			dimensions[i] = tensor.value<int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS, i);
			strides[i] = tensor.value<int64_t>(CUDNN_ATTR_TENSOR_STRIDES, i);
		}
		type = tensor.value<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE);
		uid = tensor.value<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID);
		alignment = tensor.value<int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
		is_virtual =
			tensor.has(CUDNN_ATTR_TENSOR_IS_VIRTUAL) && tensor.value<bool>(CUDNN_ATTR_TENSOR_IS_VIRTUAL);
	}
	int64_t count() const
	{
		return dimensions[0] * dimensions[1] * dimensions[2] * dimensions[3];
	}
};

// The attributes of a convolution's operation, and of which type of operation they are.
struct convolution_names {
	int convolution, x, w, y, alpha, beta;
};

convolution_names names_of(int type);

// The tensors of an operation: what it reads, and what it writes.
void tensors_of(const descriptor &operation, std::vector<reference> *reads, reference *writes);

// Runs a graph's operations, which may stand in any order, over the memory of its tensors by their unique ids.
void compute(const std::vector<reference> &operations, const std::map<int64_t, void *> &memory);
} // namespace cudnn_stand_in
