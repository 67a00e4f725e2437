// VGG-11, 13, 16 and 19 without batch normalisation, as torchvision.models.vgg11 and its siblings have them:
// Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition" (2015), table
// 1, columns A, B, D, E.
#include "common/model/architecture.h"

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

static const char *feature_name(char into[MODEL_NAME_SIZE], const struct model *model)
{
	snprintf(into, MODEL_NAME_SIZE, "features.%u", model->layer_count);
	return into;
}

void vgg_build(struct model *model, uint32_t variant, float dropout)
{
	uint32_t column = 0;
	while (columns[column].variant != variant)
		column++;
	char name[MODEL_NAME_SIZE];
	uint32_t channels = 3;
	for (uint32_t block = 0; block < BLOCKS; block++) {
		for (uint32_t i = 0; i < columns[column].convolutions[block]; i++) {
			architecture_add_convolution(model, feature_name(name, model), channels, block_channels[block],
						     3, 1, 1, INITIALIZER_KAIMING_NORMAL);
			architecture_add_relu(model, feature_name(name, model));
			channels = block_channels[block];
		}
		architecture_add_max_pool(model, feature_name(name, model), 2, 2);
	}
	architecture_add_adaptive_average_pool(model, "avgpool", 7);
	architecture_add_flatten(model, "flatten");
	architecture_add_linear(model, "classifier.0", 512 * 7 * 7, 4096, INITIALIZER_NORMAL_001);
	architecture_add_relu(model, "classifier.1");
	architecture_add_dropout(model, "classifier.2", dropout);
	architecture_add_linear(model, "classifier.3", 4096, 4096, INITIALIZER_NORMAL_001);
	architecture_add_relu(model, "classifier.4");
	architecture_add_dropout(model, "classifier.5", dropout);
	architecture_add_linear(model, "classifier.6", 4096, model->classes, INITIALIZER_NORMAL_001);
}
