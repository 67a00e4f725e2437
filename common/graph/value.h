// A value: a tensor between the operations of a graph. Pure data. Any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	GRAPH_NAME_SIZE = 96,              // of every name in a graph, with the final NUL
	VALUE_MAXIMUM_RANK = 6,            // without the micro-batch
	VALUE_MAXIMUM_DIMENSION = 1 << 28, // each dimension
	VALUE_MAXIMUM_ELEMENTS = 1 << 28,  // of one sample
};

// Numbers are those of penstock.v1.ValueType.
enum value_type {
	VALUE_COMPUTE = 1, // real numbers in the job's compute type: float32, bfloat16 or float16
	VALUE_FLOAT32 = 2, // float32 whatever the compute type is: losses
	VALUE_INT32 = 3,   // classes, tokens, counts; has no gradient
};

struct value {
	char name[GRAPH_NAME_SIZE]; // unique among the graph's values
	enum value_type type;
	bool per_sample; // a micro-batch of n samples has the shape (n, dims...); otherwise one tensor (dims...) for them all
	uint32_t rank; // of dims; 0: a number
	uint32_t dims[VALUE_MAXIMUM_RANK];

	// Derived by graph_check:
	uint32_t producer;             // the operation whose output it is; GRAPH_NONE: an input of the graph
	uint32_t producer_index;       // which output of it
	uint32_t first_use, use_count; // graph->uses[first_use ...]: its consumers in topological order
	bool has_gradient;             // the backward pass computes its gradient: a parameter lies before it
};

uint64_t value_elements(const struct value *value); // of one sample, or of the whole where it is not per_sample
// "(3, 224, 224)", of a number "()"; returns `into`.
char *value_format_dims(uint32_t rank, const uint32_t *dims, char *into, uint32_t size);
