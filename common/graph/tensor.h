// The named tensors that a graph's operations own: parameters, which are trained, and buffers (running statistics), which
// the forward pass updates. Both are float32, and a checkpoint holds them under the names given here. Any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/graph/value.h"

enum { TENSOR_MAXIMUM_RANK = 4 };

#define TENSOR_MAXIMUM_ELEMENTS (UINT64_C(1) << 32)

// Numbers are those of penstock.v1.InitializerKind.
enum initializer_kind {
	INITIALIZER_CONSTANT = 1, // every element is `scale`
	INITIALIZER_UNIFORM = 2,  // U(-scale, scale)
	INITIALIZER_NORMAL = 3,   // N(0, scale^2)
};

// Says the distribution itself, not the rule that led to it: who holds the tensor needs no fan-in.
struct initializer {
	enum initializer_kind kind;
	float scale;
};

// torch.nn.init's rules. A fan counts what one element of the output sums over (in), or of the input goes to (out).
struct initializer initializer_constant(float value);
struct initializer initializer_normal(float deviation);
struct initializer initializer_default(uint64_t fan_in); // of Linear and Conv2d: kaiming_uniform_(a=sqrt(5)); bias too
struct initializer initializer_kaiming_normal(uint64_t fan_out); // mode fan_out, nonlinearity relu

// The values that an initializer gives to the tensor `name`: a pure function of the seed, the name and the element's number, drawn by
// counter, so that any stage draws any tensor the same. `ret_values` has `count` floats.
void initializer_draw(struct initializer initializer, const char *name, uint64_t count, uint64_t seed,
		      float *ret_values);

struct tensor {
	char name[GRAPH_NAME_SIZE]; // the user's: "layer1.0.conv1.weight"; unique among parameters and buffers
	uint32_t rank;
	uint32_t dims[TENSOR_MAXIMUM_RANK];
	struct initializer initializer;

	// Derived by graph_check:
	uint32_t first_use, use_count; // graph->uses[first_use ...], in topological order. Over 1: a tied parameter
};

uint64_t tensor_elements(const struct tensor *tensor);
// Its initial values, by initializer_draw; `ret_values` has tensor_elements floats.
void tensor_draw(const struct tensor *tensor, uint64_t seed, float *ret_values);
