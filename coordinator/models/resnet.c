// ResNet-18, 34 and 50 as torchvision.models.resnet18 and its siblings have them: He et al., "Deep residual learning for image
// recognition" (2016), table 1, with the stride of a bottleneck in its 3 x 3 convolution. Names and initial values are torchvision's
// (zero_init_residual is off): convolutions kaiming normal by fan out, batch norms 1 and 0, the linear layer as PyTorch draws it.
#include "coordinator/models/families.h"

#include <stdio.h>

enum { LAYERS = 4 };

static const struct column {
	uint32_t variant;
	uint32_t blocks[LAYERS];
	bool is_bottleneck; // blocks of 1 x 1, 3 x 3 and 1 x 1 convolutions; otherwise of two 3 x 3
} columns[] = {
	{18, {2, 2, 2, 2}, false},
	{34, {3, 4, 6, 3}, false},
	{50, {3, 4, 6, 3}, true},
};

// A block under construction: operations are named below "layer1.0".
struct block {
	struct builder *builder;
	char path[32];
};

static const char *join(char into[GRAPH_NAME_SIZE], const struct block *block, const char *name)
{
	snprintf(into, GRAPH_NAME_SIZE, "%s%s", block->path, name);
	return into;
}

static uint32_t normalised(const struct block *block, const char *convolution, const char *norm, uint32_t x,
			   uint32_t channels, uint32_t kernel, uint32_t stride)
{
	char name[GRAPH_NAME_SIZE];
	x = builder_convolution(block->builder, join(name, block, convolution), x,
				&(struct builder_convolution){
					.channels = channels,
					.kernel = kernel,
					.stride = stride,
					.padding = kernel / 2,
					.no_bias = true,
					.weight = initializer_kaiming_normal((uint64_t)channels * kernel * kernel),
				});
	return builder_batch_norm(block->builder, join(name, block, norm), x);
}

static uint32_t relu(const struct block *block, const char *relu, uint32_t x)
{
	char name[GRAPH_NAME_SIZE];
	return builder_relu(block->builder, join(name, block, relu), x);
}

static uint32_t build_branch(const struct block *block, uint32_t x, uint32_t channels, uint32_t stride,
			     bool is_bottleneck)
{
	if (!is_bottleneck) {
		x = relu(block, "relu1", normalised(block, "conv1", "bn1", x, channels, 3, stride));
		return normalised(block, "conv2", "bn2", x, channels, 3, 1);
	}
	x = relu(block, "relu1", normalised(block, "conv1", "bn1", x, channels, 1, 1));
	x = relu(block, "relu2", normalised(block, "conv2", "bn2", x, channels, 3, stride));
	return normalised(block, "conv3", "bn3", x, 4 * channels, 1, 1);
}

static uint32_t build_block(const struct block *block, uint32_t x, uint32_t channels, uint32_t stride,
			    bool is_bottleneck)
{
	char name[GRAPH_NAME_SIZE];
	uint32_t out = is_bottleneck ? 4 * channels : channels, identity = x;
	uint32_t branch = build_branch(block, x, channels, stride, is_bottleneck);
	if (stride != 1 || builder_value(block->builder, x)->dims[0] != out)
		identity = normalised(block, "downsample.0", "downsample.1", x, out, 1, stride);
	return relu(block, "relu", builder_sum(block->builder, join(name, block, "add"), branch, identity));
}

uint32_t resnet_build(struct builder *builder, uint32_t images, const struct network_options *options)
{
	const struct column *column = columns;
	while (column->variant != options->variant)
		column++;
	struct block block = {.builder = builder};
	uint32_t x = relu(&block, "relu", normalised(&block, "conv1", "bn1", images, 64, 7, 2));
	x = builder_max_pool(builder, "maxpool", x, 3, 2, 1);
	for (uint32_t layer = 0; layer < LAYERS; layer++)
		for (uint32_t i = 0; i < column->blocks[layer]; i++) {
			snprintf(block.path, sizeof(block.path), "layer%u.%u.", layer + 1, i);
			x = build_block(&block, x, 64u << layer, layer > 0 && i == 0 ? 2 : 1, column->is_bottleneck);
		}
	x = builder_flatten(builder, "flatten", builder_adaptive_average_pool(builder, "avgpool", x, 1));
	struct initializer initializer = initializer_default(builder_value(builder, x)->dims[0]);
	return builder_linear(builder, "fc", x, options->classes, initializer, initializer);
}
