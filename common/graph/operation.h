// An operation: a vertex of the graph. Its row in the table of kinds says everything that a reader of graphs must know about the
// kind; what computes it is a device's affair. Dimensions count from 0 within one sample: the micro-batch is not among them.
//
// A new kind is a member of operation_kind, a row (operations.c) and its rules in the file of its family. Any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/graph/value.h"

struct graph;

enum {
	OPERATION_MAXIMUM_INPUTS = 8,
	OPERATION_MAXIMUM_OUTPUTS = 8,
	OPERATION_MAXIMUM_PARAMETERS = 2,
	OPERATION_MAXIMUM_BUFFERS = 2,
};

// Numbers are those of penstock.v1.OperationKind. In each line: inputs -> outputs; parameters in brackets, ? may be absent.
enum operation_kind {
	// convolution.c
	OPERATION_CONVOLUTION = 1, // x (C, H, W) -> (K, H', W') [weight (K, C / groups, R, S), bias (K)?]
	// pooling.c
	OPERATION_MAX_POOL = 3,              // x (C, H, W) -> (C, H', W')
	OPERATION_AVERAGE_POOL = 8,          // the same
	OPERATION_ADAPTIVE_AVERAGE_POOL = 4, // the same
	// normalisation.c
	OPERATION_BATCH_NORM =
		9, // x (C, ...) -> x's shape [weight (C)?, bias (C)?], buffers running_mean (C), running_var (C)
	OPERATION_LAYER_NORM = 10, // x (..., d) -> x's shape [weight (d), bias (d)?]: over the last dimension
	// elementwise.c
	OPERATION_RELU = 2,
	OPERATION_GELU = 11,
	OPERATION_ADD = 12, // a, b of one shape -> a + b
	OPERATION_MULTIPLY = 13,
	OPERATION_DROPOUT = 6,
	// linear.c
	OPERATION_LINEAR = 7,  // x (..., in) -> (..., out) [weight (out, in), transposed (in, out); bias (out)?]
	OPERATION_MATMUL = 14, // a (..., m, k), b (..., k, n) -> (..., m, n)
	// shape.c: outputs hold their input's elements
	OPERATION_FLATTEN = 5,
	OPERATION_RESHAPE = 15,
	OPERATION_PERMUTE = 16,
	OPERATION_SPLIT = 17, // x -> as many equal parts along an axis as it has outputs
	// embedding.c
	OPERATION_EMBEDDING = 18, // tokens int32 (...) -> (..., d) [weight (words, d)]
	OPERATION_POSITION_EMBEDDING =
		19, // tokens int32 (t) -> (t, d): the weight's first t rows [weight (positions, d)]
	// attention.c
	OPERATION_SOFTMAX = 20,
	OPERATION_ATTENTION = 21, // q (h, t, d), k (h, t', d), v (h, t', e) -> (h, t, e)
	// loss.c
	OPERATION_CROSS_ENTROPY =
		22, // logits (classes) or (t, classes), targets int32 () or (t) -> loss, correct: see the row
	OPERATION_KIND_END,
};

struct window { // height, width
	uint32_t kernel[2], stride[2], padding[2], dilation[2];
};

union attributes {
	struct {
		struct window window;
		uint32_t groups;
	} convolution;
	struct {
		struct window window;
		bool ceil_mode;
		bool count_padding; // average: torch's count_include_pad
	} pool;                     // maximum and average
	struct {
		uint32_t output[2];
	} adaptive_pool;
	struct {
		float epsilon;
		float momentum; // of the running statistics; batch norm only
	} norm;                 // both
	struct {
		bool tanh; // the approximation; otherwise exact, with erf
	} gelu;
	struct {
		float probability;
	} dropout;
	struct {
		bool transposed;
	} linear;
	struct {
		uint32_t first, end; // dimensions [first, end) become one
	} flatten;
	struct {
		uint32_t rank;
		uint32_t dims[VALUE_MAXIMUM_RANK];
	} reshape;
	struct {
		uint32_t axes[VALUE_MAXIMUM_RANK]; // dimension i of the output is dimension axes[i] of the input
	} permute;
	struct {
		uint32_t axis;
	} axis; // split, softmax
	struct {
		bool causal;
		float scale;       // 0: 1 / sqrt(d)
		float probability; // of dropout on the weights
	} attention;
	struct {
		bool ignores; // targets equal to ignore_index count neither in the loss nor in its mean
		int32_t ignore_index;
		float label_smoothing;
	} cross_entropy;
};

struct operation {
	enum operation_kind kind;
	char name[GRAPH_NAME_SIZE]; // the user's module path; unique. Keys dropout's draws and the choice of kernels
	union attributes attributes;
	uint32_t input_count, output_count, parameter_count, buffer_count;
	uint32_t inputs[OPERATION_MAXIMUM_INPUTS];         // values
	uint32_t outputs[OPERATION_MAXIMUM_OUTPUTS];       // values
	uint32_t parameters[OPERATION_MAXIMUM_PARAMETERS]; // of graph->parameters: the weight, then the bias
	uint32_t buffers[OPERATION_MAXIMUM_BUFFERS];       // of graph->buffers
};

// What a backward pass needs of the forward pass beside its parameters and the gradient that comes in.
enum {
	NEEDS_INPUTS = 1,     // the values of its inputs
	NEEDS_OUTPUTS = 2,    // of its outputs
	NEEDS_MASK = 4,       // what it noted or drew for each element: see operation_kept. May be drawn again
	NEEDS_STATISTICS = 8, // mean and inverse deviation, logarithm of the sum: see operation_kept
};

// Of one sample; a multiply-add is 2. Work without products is not counted: its time is memory's, not arithmetic's.
struct operation_flops {
	uint64_t forward, backward_input, backward_weight;
};

// The sizes of what only the operation itself reads again.
struct operation_kept {
	uint64_t mask_elements;         // of one sample
	uint64_t statistics_elements;   // float32
	bool statistics_are_per_sample; // otherwise of a micro-batch
};

// What the rules of a kind read: the operation with its tensors looked up. Outputs are filled by `infer`.
struct operation_view {
	const struct operation *operation;
	const struct value *inputs[OPERATION_MAXIMUM_INPUTS];
	const struct tensor *parameters[OPERATION_MAXIMUM_PARAMETERS];
	const struct tensor *buffers[OPERATION_MAXIMUM_BUFFERS];
	struct value *outputs[OPERATION_MAXIMUM_OUTPUTS]; // type, per_sample, rank and dims
};

// A row of the table. NULL functions: no FLOPs; keeps nothing.
struct operation_rules {
	const char *name; // PyTorch's class or function: "Conv2d", "add"; in messages and reports
	uint8_t minimum_inputs, maximum_inputs;
	uint8_t minimum_outputs, maximum_outputs;
	uint8_t minimum_parameters, maximum_parameters;
	uint8_t buffers;
	bool in_place;            // the first output may take the first input's memory
	bool is_view;             // the output is the input's memory: nothing moves, and the same of the gradients
	bool is_random;           // draws by its name, the sample and the step
	bool is_loss;             // ends a graph: its first output is what training makes small
	uint8_t needs_for_input;  // NEEDS_ of backward_input
	uint8_t needs_for_weight; // NEEDS_ of backward_weight
	// Checks attributes, types and dimensions, and fills the outputs. The message names neither operation nor kind: the caller does.
	bool (*infer)(const struct operation_view *view, struct error *error);
	void (*flops)(const struct operation_view *view, struct operation_flops *ret_flops);
	void (*kept)(const struct operation_view *view, struct operation_kept *ret_kept);
};

// NULL: there is no such kind.
const struct operation_rules *operation_rules(enum operation_kind kind);
const char *operation_kind_name(enum operation_kind kind); // the row's name, or "unknown"

// Of an operation of a graph that graph_check has passed.
void operation_flops(const struct graph *graph, uint32_t operation, struct operation_flops *ret_flops);
void operation_kept(const struct graph *graph, uint32_t operation, struct operation_kept *ret_kept);
