// A network as the devices run it today: its layers in order, their shapes, parameters, FLOPs and activation sizes. Networks are
// defined as graphs (common/graph); the one way from there to here is model_from_graph. Pure data: computes nothing. Any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

enum {
	MODEL_MAXIMUM_LAYERS = 64,
	MODEL_NAME_SIZE = 32,
	MODEL_MAXIMUM_IMAGE_SIZE = 1024,
	MODEL_MAXIMUM_CLASSES = 65536,
	MODEL_MAXIMUM_CHANNELS = 65536,         // and features
	MODEL_MAXIMUM_MICRO_BATCH_SIZE = 65536, // of a stage, on any device
};

// Values are those of penstock.v1.LayerKind.
enum layer_kind {
	LAYER_CONVOLUTION = 1,
	LAYER_RELU = 2,
	LAYER_MAX_POOL = 3, // padding 0, floor mode
	LAYER_ADAPTIVE_AVERAGE_POOL = 4,
	LAYER_FLATTEN = 5,
	LAYER_DROPOUT = 6,
	LAYER_LINEAR = 7,
};

// How torchvision draws the layer's initial parameters.
enum layer_initializer {
	INITIALIZER_NONE = 0,
	INITIALIZER_PYTORCH_DEFAULT = 1, // weight and bias U(-1/sqrt(fan_in), 1/sqrt(fan_in)): AlexNet
	INITIALIZER_KAIMING_NORMAL = 2,  // weight N(0, 2/fan_out), bias 0: VGG's convolutions
	INITIALIZER_NORMAL_001 = 3,      // weight N(0, 0.01^2), bias 0: VGG's linear layers
};

// Of one sample: (channels, height, width); after flatten (channels, 1, 1) with channels = features.
struct shape {
	uint32_t channels, height, width;
};

struct layer {
	enum layer_kind kind;
	char name[MODEL_NAME_SIZE]; // "features.0"
	uint32_t in_channels;       // convolution; linear: in_features
	uint32_t out_channels;      // convolution; linear: out_features
	uint32_t kernel_size;       // convolution, max pool: square
	uint32_t stride;
	uint32_t padding;     // convolution
	uint32_t output_size; // adaptive average pool: output height and width
	float probability;    // dropout
	enum layer_initializer initializer;
	// Filled by model_infer_shapes:
	struct shape input, output;
};

struct model {
	char name[MODEL_NAME_SIZE];
	uint32_t image_size; // the input is (3, image_size, image_size)
	uint32_t classes;
	uint32_t layer_count;
	struct layer layers[MODEL_MAXIMUM_LAYERS];
};

enum { PARAMETER_NAME_SIZE = MODEL_NAME_SIZE + 8 };

// A learnable tensor. Parameters are numbered over the whole model in layer order, weight before bias.
struct parameter {
	char name[PARAMETER_NAME_SIZE]; // "features.0.weight"
	uint32_t layer;
	bool is_bias;
	uint32_t rank;
	uint32_t dimensions[4]; // convolution (K, C, R, S); linear (out, in); bias (out)
	uint64_t count;         // elements
};

struct graph;

// The layers of a graph that graph_check has passed, with shapes; its loss is not among them. ERROR_USAGE: the graph is no chain of these
// kinds of layers; the message names the first operation that does not fit.
bool model_from_graph(const struct graph *graph, struct model *ret_model, struct error *error);
// Checks every layer (a peer may have written it) and fills the shapes. ERROR_USAGE names the layer.
bool model_infer_shapes(struct model *model, struct error *error);
const char *layer_kind_name(enum layer_kind kind); // PyTorch's class names: "Conv2d", "ReLU", ...

uint32_t model_parameter_count(const struct model *model);
// Index of the first parameter at or after `layer` (layer may be layer_count).
uint32_t model_first_parameter(const struct model *model, uint32_t layer);
void model_parameter(const struct model *model, uint32_t index, struct parameter *ret_parameter);

uint64_t shape_count(struct shape shape);                  // elements per sample
uint64_t layer_parameter_count(const struct layer *layer); // elements
// Elements of the parameters of layers [first_layer, end_layer).
uint64_t model_parameter_floats(const struct model *model, uint32_t first_layer, uint32_t end_layer);
// Per sample; a multiply-add is 2; layers without weights have none.
uint64_t layer_forward_flops(const struct layer *layer);
uint64_t layer_backward_flops(const struct layer *layer); // both gradients

// Initial values of a parameter: a pure function of seed and name. `ret_values` has parameter->count floats.
void model_draw_parameter(const struct model *model, const struct parameter *parameter, uint64_t seed,
			  float *ret_values);
