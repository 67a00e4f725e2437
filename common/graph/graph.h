// A network: operations in topological order, the values between them, and the parameters and buffers that they own.
//
// The structs are open: everything reads them, and nothing writes them but the builder, the wire and graph_check, which is the
// gate for a graph that a peer wrote. Behind it every id is in range and no product of sizes overflows. After it a graph is
// not changed; any thread may read it. Derived lists (the backward pass, cuts) are in files of their own.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/graph/operation.h"
#include "common/graph/tensor.h"
#include "common/graph/value.h"

enum {
	GRAPH_MAXIMUM_OPERATIONS = 4096,
	GRAPH_MAXIMUM_VALUES = 8192,
	GRAPH_MAXIMUM_TENSORS = 8192, // parameters; and as many buffers
	GRAPH_MAXIMUM_GROUPS = GRAPH_MAXIMUM_OPERATIONS,
};

#define GRAPH_NONE                     UINT32_MAX
#define GRAPH_MAXIMUM_PARAMETERS_TOTAL (UINT64_C(1) << 40) // elements, all parameters
#define GRAPH_MAXIMUM_FLOPS            (UINT64_C(1) << 60) // of one sample, forward

// A place where a value or a tensor is used: which operation, and at which of its inputs (parameters, buffers).
struct use {
	uint32_t operation, index;
};

// Operations [first, end) that no partition may cut: a device may compute them together and round only once.
struct group {
	uint32_t first, end;
};

struct graph {
	char name[GRAPH_NAME_SIZE]; // of the model: "alexnet"
	uint32_t operation_count, value_count, parameter_count, buffer_count, group_count;
	struct operation *operations; // topological order: an input is made by an earlier one, or by none
	struct value *values;         // in the order of their producers, after the graph's inputs
	struct tensor *parameters;    // in the order of their first use
	struct tensor *buffers;
	struct group *groups; // in order, disjoint

	// Derived by graph_check:
	uint32_t input_count; // values 0 ... input_count - 1 are the graph's inputs: images, labels, tokens
	uint32_t loss;        // the operation that gives the loss; GRAPH_NONE: the graph has none
	uint32_t use_count;
	struct use *uses; // of values, then parameters, then buffers
};

// Empty arrays of the given sizes, zeros, for who fills them: the builder and the wire. ERROR_USAGE where a count is over its limit,
// named; ERROR_OUT_OF_MEMORY. Returns owned.
bool graph_create(uint32_t operations, uint32_t values, uint32_t parameters, uint32_t buffers, uint32_t groups,
		  struct graph **ret_graph, struct error *error);
void graph_destroy(struct graph *graph);                                                   // takes NULL
bool graph_copy(const struct graph *graph, struct graph **ret_graph, struct error *error); // returns owned

// Checks everything and fills what is derived: the shapes of all values but the graph's inputs, uses, gradients. ERROR_USAGE names
// the operation, by number, name and kind. Once; on failure the graph may only be destroyed.
bool graph_check(struct graph *graph, struct error *error);

// By name; GRAPH_NONE: there is no such.
uint32_t graph_find_operation(const struct graph *graph, const char *name);
uint32_t graph_find_parameter(const struct graph *graph, const char *name);
uint32_t graph_find_input(const struct graph *graph, const char *name);

// Elements of the parameters that operations [first, end) use; a tied one counts once in the range.
uint64_t graph_parameter_elements(const struct graph *graph, uint32_t first, uint32_t end);
// Of one sample, operations [first, end).
void graph_flops(const struct graph *graph, uint32_t first, uint32_t end, struct operation_flops *ret_flops);
// Whether a partition may cut before operation `position`: 1 ... operation_count - 1, and inside no group.
bool graph_can_cut(const struct graph *graph, uint32_t position);
