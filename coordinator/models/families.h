// How the files of this folder that each describe a family of networks hand it to models.c. Private to this folder.
#pragma once

#include "common/graph/builder.h"

struct network_options {
	uint32_t variant; // tells the networks of a family apart: VGG's number of layers with weights
	uint32_t classes;
	float dropout;
};

// Adds the operations behind `images` (3, height, width), and returns the scores of the classes.
uint32_t alexnet_build(struct builder *builder, uint32_t images, const struct network_options *options);
uint32_t vgg_build(struct builder *builder, uint32_t images, const struct network_options *options);
uint32_t resnet_build(struct builder *builder, uint32_t images, const struct network_options *options);
