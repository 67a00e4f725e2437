// The built-in networks, as graphs: AlexNet, VGG and ResNet as torchvision defines them; gpt2.h has GPT-2. A new family is one file and a row in models.c.
// Any thread.
#pragma once

#include <stdint.h>

#include "common/base/error.h"
#include "common/model/model.h"

struct graph;

const char *models_names(void); // "alexnet, vgg11, ..." for messages
// The network's own spelling of a name in upper or lower case; NULL with ERROR_USAGE: there is no such network.
const char *models_find(const char *name, struct error *error);

// Builds "alexnet", "vgg11", "vgg13", "vgg16", "vgg19", "resnet18", "resnet34" or "resnet50", in any case: inputs "labels" and "images" (3, image_size, image_size), and a
// cross entropy over the classes at the end. `dropout` < 0 keeps the network's own probability. ERROR_USAGE names the networks that
// there are, or the smallest image size that this one takes. Returns owned.
bool models_create_graph(const char *name, uint32_t image_size, uint32_t classes, float dropout,
			 struct graph **ret_graph, struct error *error);
// The same as the chain of layers that the devices run today.
bool models_create_chain(const char *name, uint32_t image_size, uint32_t classes, float dropout,
			 struct model *ret_model, struct error *error);
