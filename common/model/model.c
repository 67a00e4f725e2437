// The table of networks, and the building of one by name. The families stand in files of their own, shapes in
// shapes.c, parameters in parameters.c.
#include <stdio.h>
#include <string.h>

#include "common/base/strings.h"
#include "common/model/architecture.h"
#include "common/model/model.h"

static const float default_dropout = 0.5f; // torchvision's, in both families

static const struct architecture {
	const char *name;
	void (*build)(struct model *model, uint32_t variant, float dropout);
	uint32_t variant;
} architectures[] = {
	{"alexnet", alexnet_build, 0}, {"vgg11", vgg_build, 11}, {"vgg13", vgg_build, 13},
	{"vgg16", vgg_build, 16},      {"vgg19", vgg_build, 19},
};

const char *model_names(void)
{
	return "alexnet, vgg11, vgg13, vgg16, vgg19";
}

static struct layer *add_layer(struct model *model, enum layer_kind kind, const char *name)
{
	struct layer *layer = &model->layers[model->layer_count++];
	*layer = (struct layer){.kind = kind};
	snprintf(layer->name, sizeof(layer->name), "%s", name);
	return layer;
}

void architecture_add_convolution(struct model *model, const char *name, uint32_t in_channels, uint32_t out_channels,
				  uint32_t kernel_size, uint32_t stride, uint32_t padding, enum initializer initializer)
{
	struct layer *layer = add_layer(model, LAYER_CONVOLUTION, name);
	layer->in_channels = in_channels;
	layer->out_channels = out_channels;
	layer->kernel_size = kernel_size;
	layer->stride = stride;
	layer->padding = padding;
	layer->initializer = initializer;
}

void architecture_add_relu(struct model *model, const char *name)
{
	add_layer(model, LAYER_RELU, name);
}

void architecture_add_max_pool(struct model *model, const char *name, uint32_t kernel_size, uint32_t stride)
{
	struct layer *layer = add_layer(model, LAYER_MAX_POOL, name);
	layer->kernel_size = kernel_size;
	layer->stride = stride;
}

void architecture_add_adaptive_average_pool(struct model *model, const char *name, uint32_t output_size)
{
	add_layer(model, LAYER_ADAPTIVE_AVERAGE_POOL, name)->output_size = output_size;
}

void architecture_add_flatten(struct model *model, const char *name)
{
	add_layer(model, LAYER_FLATTEN, name);
}

void architecture_add_dropout(struct model *model, const char *name, float probability)
{
	add_layer(model, LAYER_DROPOUT, name)->probability = probability;
}

void architecture_add_linear(struct model *model, const char *name, uint32_t in_features, uint32_t out_features,
			     enum initializer initializer)
{
	struct layer *layer = add_layer(model, LAYER_LINEAR, name);
	layer->in_channels = in_features;
	layer->out_channels = out_features;
	layer->initializer = initializer;
}

static bool build(const struct architecture *architecture, uint32_t image_size, uint32_t classes, float dropout,
		  struct model *model, struct error *error)
{
	*model = (struct model){.image_size = image_size, .classes = classes};
	snprintf(model->name, sizeof(model->name), "%s", architecture->name);
	architecture->build(model, architecture->variant, dropout);
	return model_infer_shapes(model, error);
}

static uint32_t smallest_image_size(const struct architecture *architecture)
{
	struct model model;
	uint32_t size = 1;
	while (size < MODEL_MAXIMUM_IMAGE_SIZE && !build(architecture, size, 1, 0, &model, NULL))
		size++;
	return size;
}

const char *model_find(const char *name, struct error *error)
{
	struct strings_guess guess = {.word = name};
	char hint[STRINGS_GUESS_SIZE];
	for (size_t i = 0; i < sizeof(architectures) / sizeof(architectures[0]); i++) {
		if (strcasecmp(name, architectures[i].name) == 0)
			return architectures[i].name;
		strings_guess_try(&guess, architectures[i].name);
	}
	error_set(error, ERROR_USAGE, "unknown model \"%.40s\"%s; known: %s", name,
		  strings_guess_write(&guess, "", hint, sizeof(hint)), model_names());
	return NULL;
}

bool model_create(const char *name, uint32_t image_size, uint32_t classes, float dropout, struct model *ret_model,
		  struct error *error)
{
	const struct architecture *architecture = architectures;
	name = model_find(name, error);
	if (name == NULL)
		return false;
	while (architecture->name != name)
		architecture++;
	if (classes < 1 || classes > MODEL_MAXIMUM_CLASSES)
		return error_set(error, ERROR_USAGE, "%u classes: the number must be from 1 to %d", classes,
				 MODEL_MAXIMUM_CLASSES);
	if (!(dropout < 1)) // NaN too
		return error_set(error, ERROR_USAGE, "dropout %g: it must be at least 0 and below 1",
				 strings_unsigned_nan((double)dropout));

	struct model model;
	if (image_size > MODEL_MAXIMUM_IMAGE_SIZE ||
	    !build(architecture, image_size, classes, dropout < 0 ? default_dropout : dropout, &model, NULL))
		return error_set(error, ERROR_USAGE,
				 "%s takes images of %u x %u pixels at least and %d x %d at most, not %u x %u", name,
				 smallest_image_size(architecture), smallest_image_size(architecture),
				 MODEL_MAXIMUM_IMAGE_SIZE, MODEL_MAXIMUM_IMAGE_SIZE, image_size, image_size);
	*ret_model = model;
	return true;
}
