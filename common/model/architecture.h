// How the files of this folder that each describe a family of networks hand it to model.c: a function that
// appends the family's layers to an empty model. Private to this folder.
#pragma once

#include "common/model/model.h"

// Appends a layer. `in_channels` of a convolution is the layer before it, tracked by the caller.
void architecture_add_convolution(struct model *model, const char *name, uint32_t in_channels, uint32_t out_channels,
				  uint32_t kernel_size, uint32_t stride, uint32_t padding,
				  enum initializer initializer);
void architecture_add_relu(struct model *model, const char *name);
void architecture_add_max_pool(struct model *model, const char *name, uint32_t kernel_size, uint32_t stride);
void architecture_add_adaptive_average_pool(struct model *model, const char *name, uint32_t output_size);
void architecture_add_flatten(struct model *model, const char *name);
void architecture_add_dropout(struct model *model, const char *name, float probability);
void architecture_add_linear(struct model *model, const char *name, uint32_t in_features, uint32_t out_features,
			     enum initializer initializer);

// `variant` tells the networks of a family apart: VGG's number of layers with weights. Both read
// model->classes.
void alexnet_build(struct model *model, uint32_t variant, float dropout);
void vgg_build(struct model *model, uint32_t variant, float dropout);
