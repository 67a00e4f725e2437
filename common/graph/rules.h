// What the files of this folder share: the rows of the table, one a kind, each in the file of its family, and the checks that
// several kinds make. Private to this folder.
#pragma once

#include "common/graph/graph.h"

extern const struct operation_rules convolution_rules;
extern const struct operation_rules max_pool_rules, average_pool_rules, adaptive_average_pool_rules;
extern const struct operation_rules batch_norm_rules, layer_norm_rules;
extern const struct operation_rules relu_rules, gelu_rules, add_rules, multiply_rules, dropout_rules;
extern const struct operation_rules linear_rules, matmul_rules;
extern const struct operation_rules flatten_rules, reshape_rules, permute_rules, split_rules;
extern const struct operation_rules embedding_rules, position_embedding_rules;
extern const struct operation_rules softmax_rules, attention_rules;
extern const struct operation_rules cross_entropy_rules;

enum { DIMS_TEXT_SIZE = 96 }; // of value_format_dims

// Looks up an operation's tensors. Its ids were checked.
void rules_view(const struct graph *graph, const struct operation *operation, struct operation_view *ret_view);
// Runs the kind's infer and checks the sizes of the outputs; the message names the operation.
bool rules_infer(struct graph *graph, uint32_t operation, struct error *error);
// Puts "operation 3, features.3 (Conv2d): " before the message. Returns false.
bool rules_wrap(const struct graph *graph, uint32_t operation, struct error *error);

// `value` is within [minimum, maximum].
bool rules_check_range(const char *what, uint32_t value, uint32_t minimum, uint32_t maximum, struct error *error);
// The type of input `index`.
bool rules_check_type(const struct operation_view *view, uint32_t index, enum value_type type, struct error *error);
// Input `index` holds real numbers of the compute type.
bool rules_check_real(const struct operation_view *view, uint32_t index, struct error *error);
// Input 0 is an image: real, per sample, (channels, height, width).
bool rules_check_image(const struct operation_view *view, struct error *error);
// A parameter or buffer has exactly these dimensions. `tensor` NULL: it is absent, and nothing is checked.
bool rules_check_tensor(const struct tensor *tensor, uint32_t rank, const uint32_t *dims, struct error *error);
bool rules_check_vector(const struct tensor *tensor, uint32_t length, struct error *error);
// A probability of dropout: at least 0, below 1.
bool rules_check_probability(float probability, struct error *error);
bool rules_check_axis(const struct operation_view *view, uint32_t axis, struct error *error);
// Gives the first output the type, per_sample, rank and dims of the first input.
void rules_copy_shape(const struct operation_view *view);
// How many positions a window takes over `size`; axis 0: height, 1: width.
bool rules_window_positions(const struct window *window, uint32_t axis, uint32_t size, bool ceil_mode,
			    uint32_t *ret_positions, struct error *error);
