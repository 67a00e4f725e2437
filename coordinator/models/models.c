// The table of networks, and the building of one by name. The families are in files of their own.
#include "coordinator/models/models.h"

#include <stdio.h>
#include <string.h>

#include "common/base/strings.h"
#include "common/graph/graph.h"
#include "coordinator/models/families.h"

static const float default_dropout = 0.5f; // torchvision's, in both families

static const struct network {
	const char *name;
	uint32_t (*build)(struct builder *builder, uint32_t images, const struct network_options *options);
	uint32_t variant;
} networks[] = {
	{"alexnet", alexnet_build, 0},  {"vgg11", vgg_build, 11},       {"vgg13", vgg_build, 13},
	{"vgg16", vgg_build, 16},       {"vgg19", vgg_build, 19},       {"resnet18", resnet_build, 18},
	{"resnet34", resnet_build, 34}, {"resnet50", resnet_build, 50},
};

// ResNet is not among them: no device trains it yet, and each job of one is refused by the operation that is missing.
const char *models_names(void)
{
	return "alexnet, vgg11, vgg13, vgg16, vgg19";
}

const char *models_find(const char *name, struct error *error)
{
	struct strings_guess guess = {.word = name};
	char hint[STRINGS_GUESS_SIZE];
	for (size_t i = 0; i < sizeof(networks) / sizeof(networks[0]); i++) {
		if (strcasecmp(name, networks[i].name) == 0)
			return networks[i].name;
		strings_guess_try(&guess, networks[i].name);
	}
	error_set(error, ERROR_USAGE, "unknown model \"%.40s\"%s; known: %s", name,
		  strings_guess_write(&guess, "", hint, sizeof(hint)), models_names());
	return NULL;
}

static bool build(const struct network *network, uint32_t image_size, const struct network_options *options,
		  struct graph **ret_graph, struct error *error)
{
	struct builder *builder = NULL;
	const uint32_t dims[3] = {3, image_size, image_size};
	if (!builder_create(network->name, &builder, error))
		return false;
	uint32_t labels = builder_input(builder, "labels", VALUE_INT32, 0, dims);
	uint32_t images = builder_input(builder, "images", VALUE_COMPUTE, 3, dims);
	uint32_t scores = network->build(builder, images, options);
	builder_cross_entropy(builder, "loss", scores, labels);
	return builder_finish(builder, ret_graph, error);
}

static uint32_t smallest_image_size(const struct network *network)
{
	const struct network_options options = {.variant = network->variant, .classes = 1};
	uint32_t size = 1;
	for (; size < MODEL_MAXIMUM_IMAGE_SIZE; size++) {
		struct graph *graph = NULL;
		bool built = build(network, size, &options, &graph, NULL);
		graph_destroy(graph);
		if (built)
			break;
	}
	return size;
}

bool models_create_graph(const char *name, uint32_t image_size, uint32_t classes, float dropout,
			 struct graph **ret_graph, struct error *error)
{
	const struct network *network = networks;
	name = models_find(name, error);
	if (name == NULL)
		return false;
	while (network->name != name)
		network++;
	if (classes < 1 || classes > MODEL_MAXIMUM_CLASSES)
		return error_set(error, ERROR_USAGE, "%u classes: the number must be from 1 to %d", classes,
				 MODEL_MAXIMUM_CLASSES);
	if (!(dropout < 1)) // NaN too
		return error_set(error, ERROR_USAGE, "dropout %g: it must be at least 0 and below 1",
				 strings_unsigned_nan((double)dropout));

	const struct network_options options = {
		.variant = network->variant, .classes = classes, .dropout = dropout < 0 ? default_dropout : dropout};
	if (image_size < 1 || image_size > MODEL_MAXIMUM_IMAGE_SIZE ||
	    !build(network, image_size, &options, ret_graph, NULL)) {
		uint32_t smallest = smallest_image_size(network);
		return error_set(error, ERROR_USAGE,
				 "%s takes images of %u x %u pixels at least and %d x %d at most, not %u x %u", name,
				 smallest, smallest, MODEL_MAXIMUM_IMAGE_SIZE, MODEL_MAXIMUM_IMAGE_SIZE, image_size,
				 image_size);
	}
	return true;
}

bool models_create_chain(const char *name, uint32_t image_size, uint32_t classes, float dropout,
			 struct model *ret_model, struct error *error)
{
	struct graph *graph = NULL;
	if (!models_create_graph(name, image_size, classes, dropout, &graph, error))
		return false;
	bool ok = model_from_graph(graph, ret_model, error) || error_wrap(error, "%s", name);
	graph_destroy(graph);
	return ok;
}
