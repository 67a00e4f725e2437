// AlexNet as torchvision.models.alexnet has it: Krizhevsky, "One weird trick for parallelizing convolutional
// neural networks" (2014), with an adaptive average pool so that it takes images of any size.
#include "common/model/architecture.h"

void alexnet_build(struct model *model, uint32_t variant, float dropout)
{
	const enum initializer initializer = INITIALIZER_PYTORCH_DEFAULT;
	architecture_add_convolution(model, "features.0", 3, 64, 11, 4, 2, initializer);
	architecture_add_relu(model, "features.1");
	architecture_add_max_pool(model, "features.2", 3, 2);
	architecture_add_convolution(model, "features.3", 64, 192, 5, 1, 2, initializer);
	architecture_add_relu(model, "features.4");
	architecture_add_max_pool(model, "features.5", 3, 2);
	architecture_add_convolution(model, "features.6", 192, 384, 3, 1, 1, initializer);
	architecture_add_relu(model, "features.7");
	architecture_add_convolution(model, "features.8", 384, 256, 3, 1, 1, initializer);
	architecture_add_relu(model, "features.9");
	architecture_add_convolution(model, "features.10", 256, 256, 3, 1, 1, initializer);
	architecture_add_relu(model, "features.11");
	architecture_add_max_pool(model, "features.12", 3, 2);
	architecture_add_adaptive_average_pool(model, "avgpool", 6);
	architecture_add_flatten(model, "flatten");
	architecture_add_dropout(model, "classifier.0", dropout);
	architecture_add_linear(model, "classifier.1", 256 * 6 * 6, 4096, initializer);
	architecture_add_relu(model, "classifier.2");
	architecture_add_dropout(model, "classifier.3", dropout);
	architecture_add_linear(model, "classifier.4", 4096, 4096, initializer);
	architecture_add_relu(model, "classifier.5");
	architecture_add_linear(model, "classifier.6", 4096, model->classes, initializer);
}
