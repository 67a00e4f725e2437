// VGG-11, 13, 16 and 19 without batch normalisation, as torchvision.models.vgg11 and its siblings have them:
// Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition" (2015), table
// 1, columns A, B, D, E. Initial values are torchvision's: convolutions kaiming normal, linear layers N(0, 0.01), biases 0.
#include "coordinator/models/families.h"

#include <stdio.h>

enum { BLOCKS = 5 };

static const uint32_t block_channels[BLOCKS] = {64, 128, 256, 512, 512};

// Convolutions of 3 x 3 in each block; a max pool ends each.
static const struct {
	uint32_t variant;
	uint32_t convolutions[BLOCKS];
} columns[] = {
	{11, {1, 1, 2, 2, 2}},
	{13, {2, 2, 2, 2, 2}},
	{16, {2, 2, 3, 3, 3}},
	{19, {2, 2, 4, 4, 4}},
};

static const char *feature_name(char into[GRAPH_NAME_SIZE], uint32_t *index)
{
	snprintf(into, GRAPH_NAME_SIZE, "features.%u", (*index)++);
	return into;
}

static uint32_t build_features(struct builder *builder, uint32_t x, const uint32_t convolutions[BLOCKS])
{
	char name[GRAPH_NAME_SIZE];
	uint32_t index = 0;
	for (uint32_t block = 0; block < BLOCKS; block++) {
		const struct builder_convolution convolution = {
			.channels = block_channels[block],
			.kernel = 3,
			.padding = 1,
			.weight = initializer_kaiming_normal(UINT64_C(9) * block_channels[block]),
			.bias = initializer_constant(0),
		};
		for (uint32_t i = 0; i < convolutions[block]; i++) {
			x = builder_convolution(builder, feature_name(name, &index), x, &convolution);
			x = builder_relu(builder, feature_name(name, &index), x);
		}
		x = builder_max_pool(builder, feature_name(name, &index), x, 2, 2, 0);
	}
	return x;
}

static uint32_t linear(struct builder *builder, const char *name, uint32_t x, uint32_t features)
{
	return builder_linear(builder, name, x, features, initializer_normal(0.01f), initializer_constant(0));
}

uint32_t vgg_build(struct builder *builder, uint32_t images, const struct network_options *options)
{
	uint32_t column = 0;
	while (columns[column].variant != options->variant)
		column++;
	uint32_t x = build_features(builder, images, columns[column].convolutions);
	x = builder_adaptive_average_pool(builder, "avgpool", x, 7);
	x = builder_flatten(builder, "flatten", x);
	x = linear(builder, "classifier.0", x, 4096);
	x = builder_relu(builder, "classifier.1", x);
	x = builder_dropout(builder, "classifier.2", x, options->dropout);
	x = linear(builder, "classifier.3", x, 4096);
	x = builder_relu(builder, "classifier.4", x);
	x = builder_dropout(builder, "classifier.5", x, options->dropout);
	return linear(builder, "classifier.6", x, options->classes);
}
