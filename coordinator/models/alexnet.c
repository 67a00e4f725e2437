// AlexNet as torchvision.models.alexnet has it: Krizhevsky, "One weird trick for parallelizing convolutional
// neural networks" (2014), with an adaptive average pool so that it takes images of any size. Weights and biases are
// drawn as PyTorch's layers draw theirs.
#include "coordinator/models/families.h"

static uint32_t convolution(struct builder *builder, const char *name, uint32_t x, uint32_t channels, uint32_t kernel,
			    uint32_t stride, uint32_t padding)
{
	struct initializer initializer =
		initializer_default((uint64_t)builder_value(builder, x)->dims[0] * kernel * kernel);
	return builder_convolution(builder, name, x,
				   &(struct builder_convolution){.channels = channels,
								 .kernel = kernel,
								 .stride = stride,
								 .padding = padding,
								 .weight = initializer,
								 .bias = initializer});
}

static uint32_t linear(struct builder *builder, const char *name, uint32_t x, uint32_t features)
{
	struct initializer initializer = initializer_default(builder_value(builder, x)->dims[0]);
	return builder_linear(builder, name, x, features, initializer, initializer);
}

uint32_t alexnet_build(struct builder *builder, uint32_t images, const struct network_options *options)
{
	uint32_t x = convolution(builder, "features.0", images, 64, 11, 4, 2);
	x = builder_relu(builder, "features.1", x);
	x = builder_max_pool(builder, "features.2", x, 3, 2, 0);
	x = convolution(builder, "features.3", x, 192, 5, 1, 2);
	x = builder_relu(builder, "features.4", x);
	x = builder_max_pool(builder, "features.5", x, 3, 2, 0);
	x = convolution(builder, "features.6", x, 384, 3, 1, 1);
	x = builder_relu(builder, "features.7", x);
	x = convolution(builder, "features.8", x, 256, 3, 1, 1);
	x = builder_relu(builder, "features.9", x);
	x = convolution(builder, "features.10", x, 256, 3, 1, 1);
	x = builder_relu(builder, "features.11", x);
	x = builder_max_pool(builder, "features.12", x, 3, 2, 0);
	x = builder_adaptive_average_pool(builder, "avgpool", x, 6);
	x = builder_flatten(builder, "flatten", x);
	x = builder_dropout(builder, "classifier.0", x, options->dropout);
	x = linear(builder, "classifier.1", x, 4096);
	x = builder_relu(builder, "classifier.2", x);
	x = builder_dropout(builder, "classifier.3", x, options->dropout);
	x = linear(builder, "classifier.4", x, 4096);
	x = builder_relu(builder, "classifier.5", x);
	return linear(builder, "classifier.6", x, options->classes);
}
