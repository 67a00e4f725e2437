// model_infer_shapes as the gate for a model that a peer wrote: each field that can be wrong is, one at a
// time.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "common/base/random.h"
#include "common/model/model.h"
#include "coordinator/models/models.h"

enum { CONVOLUTION = 0, MAX_POOL = 2, AVERAGE_POOL = 13, FLATTEN = 14, DROPOUT = 15, LINEAR = 16 }; // of AlexNet

static struct model alexnet(void)
{
	static struct model model; // built once: random fields are put in thousands of copies
	struct error error = {0};
	assert_true(model.layer_count > 0 || models_create_chain("alexnet", 224, 10, -1, &model, &error));
	return model;
}

static void expect_refused(struct model *model, const char *text)
{
	struct error error = {0};
	if (model_infer_shapes(model, &error))
		fail_msg("taken, expected \"%s\"", text);
	assert_int_equal(error.code, ERROR_USAGE);
	if (strstr(error.message, text) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", error.message, text);
}

static void infer_shapes_again_changes_nothing(void **state)
{
	struct model model = alexnet(), before = alexnet();
	struct error error = {0};
	assert_true(model_infer_shapes(&model, &error));
	assert_memory_equal(&model, &before, sizeof(model));
}

static void infer_shapes_fields_of_the_model_are_bounded(void **state)
{
	static const uint32_t bad_counts[] = {0, MODEL_MAXIMUM_LAYERS + 1, UINT32_MAX};
	static const uint32_t bad_sizes[] = {0, MODEL_MAXIMUM_IMAGE_SIZE + 1, UINT32_MAX};
	static const uint32_t bad_classes[] = {0, MODEL_MAXIMUM_CLASSES + 1, UINT32_MAX};
	for (int i = 0; i < 3; i++) {
		struct model model = alexnet();
		model.layer_count = bad_counts[i];
		expect_refused(&model, "number of layers");
		model = alexnet();
		model.image_size = bad_sizes[i];
		expect_refused(&model, "image_size");
		model = alexnet();
		model.classes = bad_classes[i];
		expect_refused(&model, "number of classes");
	}
}

static void infer_shapes_fields_of_layers_are_bounded(void **state)
{
	static const uint32_t bad[] = {0, MODEL_MAXIMUM_CHANNELS + 1, UINT32_MAX};
	for (int i = 0; i < 3; i++) {
		struct model model = alexnet();
		model.layers[CONVOLUTION].in_channels = bad[i];
		expect_refused(&model, "layer 0, features.0 (Conv2d): in_channels");
		model = alexnet();
		model.layers[CONVOLUTION].out_channels = bad[i];
		expect_refused(&model, "layer 0, features.0 (Conv2d): out_channels");
		model = alexnet();
		model.layers[CONVOLUTION].kernel_size = bad[i];
		expect_refused(&model, "layer 0, features.0 (Conv2d): kernel_size");
		model = alexnet();
		model.layers[CONVOLUTION].stride = bad[i];
		expect_refused(&model, "layer 0, features.0 (Conv2d): stride");
		model = alexnet();
		model.layers[MAX_POOL].kernel_size = bad[i];
		expect_refused(&model, "layer 2, features.2 (MaxPool2d): kernel_size");
		model = alexnet();
		model.layers[MAX_POOL].stride = bad[i];
		expect_refused(&model, "layer 2, features.2 (MaxPool2d): stride");
		model = alexnet();
		model.layers[AVERAGE_POOL].output_size = bad[i];
		expect_refused(&model, "layer 13, avgpool (AdaptiveAvgPool2d): output_size");
		model = alexnet();
		model.layers[LINEAR].in_channels = bad[i];
		expect_refused(&model, "layer 16, classifier.1 (Linear): in_channels");
		model = alexnet();
		model.layers[LINEAR].out_channels = bad[i];
		expect_refused(&model, "layer 16, classifier.1 (Linear): out_channels");
	}
	static const uint32_t bad_padding[] = {11, 1024, UINT32_MAX, UINT32_MAX - 5};
	for (int i = 0; i < 4; i++) {
		struct model model = alexnet();
		model.layers[CONVOLUTION].padding = bad_padding[i];
		expect_refused(&model, "padding");
	}
	static const float bad_probability[] = {-0.1f, 1, 2, NAN, INFINITY, -INFINITY};
	for (int i = 0; i < 6; i++) {
		struct model model = alexnet();
		model.layers[DROPOUT].probability = bad_probability[i];
		expect_refused(&model, "probability");
	}
	static const uint32_t bad_kind[] = {0, 8, UINT32_MAX};
	for (int i = 0; i < 3; i++) {
		struct model model = alexnet();
		model.layers[5].kind = (enum layer_kind)bad_kind[i];
		expect_refused(&model, "unknown ");
	}
	struct model model = alexnet();
	model.layers[LINEAR].initializer = (enum layer_initializer)4;
	expect_refused(&model, "initializer 4");
}

static void infer_shapes_layers_that_do_not_fit_are_refused(void **state)
{
	struct model model = alexnet();
	model.layers[3].in_channels = 63;
	expect_refused(&model,
		       "features.3 (Conv2d): expects 63 channels or features, but the layer before it gives 64");
	model = alexnet();
	model.layers[LINEAR].in_channels = 9215;
	expect_refused(&model, "gives 9216");
	model = alexnet();
	model.image_size = 62;
	expect_refused(&model, "layer 12, features.12 (MaxPool2d): a window of 3 does not fit an input of 2");
	model = alexnet();
	model.layers[FLATTEN].kind = LAYER_RELU;
	expect_refused(&model, "no flatten layer precedes it");
	model = alexnet();
	model.layers[DROPOUT] = (struct layer){.kind = LAYER_MAX_POOL, .kernel_size = 1, .stride = 1};
	strcpy(model.layers[DROPOUT].name, "late");
	expect_refused(&model, "expects images, but follows the flatten layer");
}

// Sizes that are each within bounds, and whose product is not.
static void infer_shapes_products_are_bounded(void **state)
{
	struct model model = {.name = "wide", .image_size = 1024, .classes = 10, .layer_count = 1};
	model.layers[0] = (struct layer){.kind = LAYER_CONVOLUTION,
					 .name = "a",
					 .in_channels = 3,
					 .out_channels = 65536,
					 .kernel_size = 1,
					 .stride = 1};
	expect_refused(&model, "elements");
	model.layers[0] = (struct layer){.kind = LAYER_CONVOLUTION,
					 .name = "a",
					 .in_channels = 3,
					 .out_channels = 65536,
					 .kernel_size = 1024,
					 .stride = 1};
	expect_refused(&model, "parameters");
	model.layers[0] = (struct layer){.kind = LAYER_CONVOLUTION,
					 .name = "a",
					 .in_channels = 3,
					 .out_channels = 1,
					 .kernel_size = 1024,
					 .stride = 1,
					 .padding = 1023};
	expect_refused(&model, "1024 in height and width");
	model.layers[0] = (struct layer){.kind = LAYER_FLATTEN, .name = "a"};
	expect_refused(&model, "; the maximum is 65536");
}

static void infer_shapes_names_are_valid_and_unique(void **state)
{
	static const char *const bad[] = {"", "a b", "a/b", "a\n", "\xc3\xa4", "a%s"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct model model = alexnet();
		strcpy(model.layers[4].name, bad[i]);
		expect_refused(&model, "layer 4: its name");
		model = alexnet();
		strcpy(model.name, bad[i]);
		expect_refused(&model, "the model's name");
	}
	struct model model = alexnet();
	memset(model.layers[21].name, 'x', MODEL_NAME_SIZE); // without an end
	expect_refused(&model, "layer 21: its name");
	model = alexnet();
	memset(model.name, 'x', MODEL_NAME_SIZE);
	expect_refused(&model, "the model's name");
	model = alexnet();
	strcpy(model.layers[9].name, "features.3");
	expect_refused(&model, "layers 3 and 9 are both named features.3");
}

static void infer_shapes_longest_name_and_most_layers_are_taken(void **state)
{
	struct model model = {.image_size = 8, .classes = 3, .layer_count = MODEL_MAXIMUM_LAYERS};
	memset(model.name, 'm', MODEL_NAME_SIZE - 1);
	for (uint32_t l = 0; l < MODEL_MAXIMUM_LAYERS; l++) {
		model.layers[l].kind = LAYER_RELU;
		memset(model.layers[l].name, 'a' + (int)l % 26, MODEL_NAME_SIZE - 1);
		model.layers[l].name[0] = (char)('a' + l / 26);
	}
	struct error error = {0};
	assert_true(model_infer_shapes(&model, &error));
	assert_int_equal(shape_count(model.layers[MODEL_MAXIMUM_LAYERS - 1].output), 3 * 8 * 8);
}

// Any field of any layer replaced by any value, small ones often: refused with a message, or within every
// bound.
static void infer_shapes_random_fields_are_refused_or_bounded(void **state)
{
	struct random_key key = random_key_make(1, RANDOM_DATASET, 1);
	uint32_t taken = 0, refused = 0;
	for (uint64_t round = 0; round < 20000; round++) {
		struct model model = alexnet();
		uint32_t words[4];
		for (uint64_t change = 0; change <= round % 3; change++) {
			random_block(key, round, change, words);
			struct layer *layer = &model.layers[words[0] % model.layer_count];
			uint32_t value = words[1] >> (words[2] & 31);
			uint32_t *const fields[] = {&layer->in_channels, &layer->out_channels, &layer->kernel_size,
						    &layer->stride,      &layer->padding,      &layer->output_size};
			if (words[3] % 8 < 6)
				*fields[words[3] % 8] = value;
			else if (words[3] % 8 == 6)
				layer->kind = (enum layer_kind)(value % 9);
			else
				memcpy(&layer->probability, &words[1], sizeof(layer->probability));
		}
		struct error error = {0};
		if (!model_infer_shapes(&model, &error)) {
			assert_int_equal(error.code, ERROR_USAGE);
			refused++;
			continue;
		}
		taken++;
		for (uint32_t l = 0; l < model.layer_count; l++) {
			const struct layer *layer = &model.layers[l];
			assert_in_range(shape_count(layer->output), 1, 1 << 28);
			assert_in_range(layer->output.height, 1, MODEL_MAXIMUM_IMAGE_SIZE);
			assert_true(layer_parameter_count(layer) <= 1ull << 32);
			assert_true(layer_forward_flops(layer) < 1ull << 62);
		}
	}
	assert_true(taken > 1000 && refused > 1000);
}

static void layer_kind_name_is_pytorchs(void **state)
{
	static const char *const expected[] = {"Conv2d",  "ReLU",    "MaxPool2d", "AdaptiveAvgPool2d",
					       "Flatten", "Dropout", "Linear"};
	for (int kind = LAYER_CONVOLUTION; kind <= LAYER_LINEAR; kind++)
		assert_string_equal(layer_kind_name((enum layer_kind)kind), expected[kind - 1]);
	assert_string_equal(layer_kind_name((enum layer_kind)0), "unknown");
	assert_string_equal(layer_kind_name((enum layer_kind)8), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(infer_shapes_again_changes_nothing),
		cmocka_unit_test(infer_shapes_fields_of_the_model_are_bounded),
		cmocka_unit_test(infer_shapes_fields_of_layers_are_bounded),
		cmocka_unit_test(infer_shapes_layers_that_do_not_fit_are_refused),
		cmocka_unit_test(infer_shapes_products_are_bounded),
		cmocka_unit_test(infer_shapes_names_are_valid_and_unique),
		cmocka_unit_test(infer_shapes_longest_name_and_most_layers_are_taken),
		cmocka_unit_test(infer_shapes_random_fields_are_refused_or_bounded),
		cmocka_unit_test(layer_kind_name_is_pytorchs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
