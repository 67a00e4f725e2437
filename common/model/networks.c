// The networks: AlexNet (Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014) and VGG
// (Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", 2015, configurations
// A, B, D and E), layer by layer as torchvision.models builds them, under torchvision's names.
#include <stdio.h>
#include <string.h>

#include "common/model/model.h"

struct builder {
	struct model *model;
	const char *group;     // "features", "classifier"
	uint32_t index;        // within the group
	uint32_t channels;     // of the layer before
	enum initializer convolution, linear;
};

static struct layer *add(struct builder *builder, enum layer_kind kind)
{
	struct layer *layer = &builder->model->layers[builder->model->layer_count++];
	*layer = (struct layer){.kind = kind};
	snprintf(layer->name, sizeof(layer->name), "%s.%u", builder->group, builder->index++);
	return layer;
}

static void begin_group(struct builder *builder, const char *group)
{
	builder->group = group;
	builder->index = 0;
}

static void convolution(struct builder *builder, uint32_t channels, uint32_t kernel_size, uint32_t stride,
			uint32_t padding)
{
	struct layer *layer = add(builder, LAYER_CONVOLUTION);
	layer->in_channels = builder->channels;
	layer->out_channels = channels;
	layer->kernel_size = kernel_size;
	layer->stride = stride;
	layer->padding = padding;
	layer->initializer = builder->convolution;
	builder->channels = channels;
	add(builder, LAYER_RELU);
}

static void max_pool(struct builder *builder, uint32_t kernel_size, uint32_t stride)
{
	struct layer *layer = add(builder, LAYER_MAX_POOL);
	layer->kernel_size = kernel_size;
	layer->stride = stride;
}

static void dropout(struct builder *builder, float probability)
{
	add(builder, LAYER_DROPOUT)->probability = probability;
}

static void linear(struct builder *builder, uint32_t features)
{
	struct layer *layer = add(builder, LAYER_LINEAR);
	layer->in_channels = builder->channels;
	layer->out_channels = features;
	layer->initializer = builder->linear;
	builder->channels = features;
}

// The average pool and the flattening have no number in their names: they stand between torchvision's two groups.
static void flatten(struct builder *builder, uint32_t output_size)
{
	struct layer *pool = add(builder, LAYER_ADAPTIVE_AVERAGE_POOL);
	pool->output_size = output_size;
	strcpy(pool->name, "avgpool");
	strcpy(add(builder, LAYER_FLATTEN)->name, "flatten");
	builder->channels *= output_size * output_size;
}

static void build_alexnet(struct builder *builder, const char *configuration, uint32_t classes, float probability)
{
	builder->convolution = builder->linear = INITIALIZER_PYTORCH_DEFAULT;
	begin_group(builder, "features");
	convolution(builder, 64, 11, 4, 2);
	max_pool(builder, 3, 2);
	convolution(builder, 192, 5, 1, 2);
	max_pool(builder, 3, 2);
	convolution(builder, 384, 3, 1, 1);
	convolution(builder, 256, 3, 1, 1);
	convolution(builder, 256, 3, 1, 1);
	max_pool(builder, 3, 2);
	flatten(builder, 6);
	begin_group(builder, "classifier");
	dropout(builder, probability);
	linear(builder, 4096);
	add(builder, LAYER_RELU);
	dropout(builder, probability);
	linear(builder, 4096);
	add(builder, LAYER_RELU);
	linear(builder, classes);
}

// `configuration`: a digit is that many times 64 channels, M a pool.
static void build_vgg(struct builder *builder, const char *configuration, uint32_t classes, float probability)
{
	builder->convolution = INITIALIZER_KAIMING_NORMAL;
	builder->linear = INITIALIZER_NORMAL_001;
	begin_group(builder, "features");
	for (const char *c = configuration; *c != '\0'; c++) {
		if (*c == 'M')
			max_pool(builder, 2, 2);
		else
			convolution(builder, 64 * (uint32_t)(*c - '0'), 3, 1, 1);
	}
	flatten(builder, 7);
	begin_group(builder, "classifier");
	linear(builder, 4096);
	add(builder, LAYER_RELU);
	dropout(builder, probability);
	linear(builder, 4096);
	add(builder, LAYER_RELU);
	dropout(builder, probability);
	linear(builder, classes);
}

static const struct network {
	const char *name;
	void (*build)(struct builder *builder, const char *configuration, uint32_t classes, float probability);
	const char *configuration;
} networks[] = {
	{"alexnet", build_alexnet, NULL},
	{"vgg11", build_vgg, "1M2M44M88M88M"},
	{"vgg13", build_vgg, "11M22M44M88M88M"},
	{"vgg16", build_vgg, "11M22M444M888M888M"},
	{"vgg19", build_vgg, "11M22M4444M8888M8888M"},
};
enum { NETWORK_COUNT = sizeof(networks) / sizeof(networks[0]) };

const char *model_names(void)
{
	return "alexnet, vgg11, vgg13, vgg16, vgg19";
}

// The smallest input that every layer accepts; larger ones are then accepted, too.
static uint32_t smallest_image_size(const struct model *model)
{
	struct model probe = *model;
	for (probe.image_size = 1; probe.image_size < MODEL_MAXIMUM_IMAGE_SIZE; probe.image_size++)
		if (model_infer_shapes(&probe, NULL))
			break;
	return probe.image_size;
}

bool model_create(const char *name, uint32_t image_size, uint32_t classes, float dropout, struct model *ret_model,
		  struct error *error)
{
	const float probability = 0.5f; // torchvision's
	for (size_t i = 0; i < NETWORK_COUNT; i++) {
		if (strcmp(networks[i].name, name) != 0)
			continue;
		struct model model = {.image_size = image_size, .classes = classes};
		struct builder builder = {.model = &model, .channels = 3};
		strcpy(model.name, name);
		if (classes < 1 || classes > MODEL_MAXIMUM_CLASSES)
			return error_set(error, ERROR_USAGE, "%u classes: must be from 1 to %d", classes, MODEL_MAXIMUM_CLASSES);
		networks[i].build(&builder, networks[i].configuration, classes, dropout < 0 ? probability : dropout);
		uint32_t smallest = smallest_image_size(&model);
		if (image_size < smallest || image_size > MODEL_MAXIMUM_IMAGE_SIZE)
			return error_set(error, ERROR_USAGE, "image size %u: %s takes %u to %d", image_size, name, smallest,
					 MODEL_MAXIMUM_IMAGE_SIZE);
		if (!model_infer_shapes(&model, error))
			return false;
		*ret_model = model;
		return true;
	}
	return error_set(error, ERROR_USAGE, "there is no model \"%.64s\"; there are: %s", name, model_names());
}
