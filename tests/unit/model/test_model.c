// The networks against torchvision's: published parameter counts, the shapes and FLOPs that PyTorch reports,
// and sizes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "common/model/model.h"
#include "coordinator/models/models.h"

static struct model create(const char *name, uint32_t image_size, uint32_t classes)
{
	struct model model;
	struct error error = {0};
	if (!models_create_chain(name, image_size, classes, -1, &model, &error))
		fail_msg("%s", error.message);
	return model;
}

// Parameters as torchvision's pages publish them; FLOPs of one sample by torch.utils.flop_counter (PyTorch
// 2).
static void create_networks_have_torchvisions_parameters_and_flops(void **state)
{
	static const struct {
		const char *name;
		uint32_t layers, image_size;
		uint64_t parameters, flops;
	} cases[] = {
		{"alexnet", 22, 224, 61100840, 1428376960}, {"alexnet", 22, 63, 61100840, 196289920},
		{"vgg11", 30, 224, 132863336, 15218180096}, {"vgg11", 30, 32, 132863336, 552796160},
		{"vgg13", 34, 224, 133047848, 22616932352}, {"vgg13", 34, 32, 133047848, 703791104},
		{"vgg16", 40, 224, 138357544, 30940528640}, {"vgg16", 40, 32, 138357544, 873660416},
		{"vgg19", 46, 224, 143667240, 39264124928}, {"vgg19", 46, 32, 143667240, 1043529728},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct model model = create(cases[i].name, cases[i].image_size, 1000);
		uint64_t parameters = 0, forward = 0, backward = 0;
		for (uint32_t l = 0; l < model.layer_count; l++) {
			parameters += layer_parameter_count(&model.layers[l]);
			forward += layer_forward_flops(&model.layers[l]);
			backward += layer_backward_flops(&model.layers[l]);
		}
		assert_int_equal(model.layer_count, cases[i].layers);
		assert_true(parameters == cases[i].parameters);
		assert_true(forward == cases[i].flops);
		assert_true(backward == 2 * cases[i].flops); // as PyTorch counts it with a gradient of the input
		assert_string_equal(model.name, cases[i].name);
	}
}

static void create_alexnet_has_torchvisions_layers_and_shapes(void **state)
{
	static const struct {
		const char *name;
		enum layer_kind kind;
		struct shape output;
	} expected[] = {
		{"features.0", LAYER_CONVOLUTION, {64, 55, 55}},
		{"features.1", LAYER_RELU, {64, 55, 55}},
		{"features.2", LAYER_MAX_POOL, {64, 27, 27}},
		{"features.3", LAYER_CONVOLUTION, {192, 27, 27}},
		{"features.4", LAYER_RELU, {192, 27, 27}},
		{"features.5", LAYER_MAX_POOL, {192, 13, 13}},
		{"features.6", LAYER_CONVOLUTION, {384, 13, 13}},
		{"features.7", LAYER_RELU, {384, 13, 13}},
		{"features.8", LAYER_CONVOLUTION, {256, 13, 13}},
		{"features.9", LAYER_RELU, {256, 13, 13}},
		{"features.10", LAYER_CONVOLUTION, {256, 13, 13}},
		{"features.11", LAYER_RELU, {256, 13, 13}},
		{"features.12", LAYER_MAX_POOL, {256, 6, 6}},
		{"avgpool", LAYER_ADAPTIVE_AVERAGE_POOL, {256, 6, 6}},
		{"flatten", LAYER_FLATTEN, {9216, 1, 1}},
		{"classifier.0", LAYER_DROPOUT, {9216, 1, 1}},
		{"classifier.1", LAYER_LINEAR, {4096, 1, 1}},
		{"classifier.2", LAYER_RELU, {4096, 1, 1}},
		{"classifier.3", LAYER_DROPOUT, {4096, 1, 1}},
		{"classifier.4", LAYER_LINEAR, {4096, 1, 1}},
		{"classifier.5", LAYER_RELU, {4096, 1, 1}},
		{"classifier.6", LAYER_LINEAR, {1000, 1, 1}},
	};
	struct model model = create("alexnet", 224, 1000);
	struct shape before = {3, 224, 224};
	for (uint32_t l = 0; l < model.layer_count; l++) {
		const struct layer *layer = &model.layers[l];
		assert_string_equal(layer->name, expected[l].name);
		assert_int_equal(layer->kind, expected[l].kind);
		assert_memory_equal(&layer->input, &before, sizeof(before));
		assert_memory_equal(&layer->output, &expected[l].output, sizeof(before));
		before = layer->output;
	}
	assert_true(model.layers[0].stride == 4 && model.layers[0].padding == 2 && model.layers[0].kernel_size == 11);
}

static void create_vgg_has_torchvisions_names_and_shapes(void **state)
{
	static const struct {
		const char *name;
		uint32_t convolutions, last_pool; // index of the last of features
	} cases[] = {{"vgg11", 8, 20}, {"vgg13", 10, 24}, {"vgg16", 13, 30}, {"vgg19", 16, 36}};
	static const struct shape pools[5] = {{64, 112, 112}, {128, 56, 56}, {256, 28, 28}, {512, 14, 14}, {512, 7, 7}};
	for (int i = 0; i < 4; i++) {
		struct model model = create(cases[i].name, 224, 7);
		uint32_t convolutions = 0, pooled = 0;
		for (uint32_t l = 0; l < model.layer_count; l++) {
			const struct layer *layer = &model.layers[l];
			convolutions += layer->kind == LAYER_CONVOLUTION;
			if (layer->kind == LAYER_MAX_POOL)
				assert_memory_equal(&layer->output, &pools[pooled++], sizeof(struct shape));
		}
		assert_int_equal(convolutions, cases[i].convolutions);
		assert_int_equal(pooled, 5);
		uint32_t l = cases[i].last_pool;
		assert_int_equal(model.layers[l].kind, LAYER_MAX_POOL);
		static const char *const tail[] = {"avgpool",      "flatten",      "classifier.0",
						   "classifier.1", "classifier.2", "classifier.3",
						   "classifier.4", "classifier.5", "classifier.6"};
		static const enum layer_kind kinds[] = {LAYER_ADAPTIVE_AVERAGE_POOL,
							LAYER_FLATTEN,
							LAYER_LINEAR,
							LAYER_RELU,
							LAYER_DROPOUT,
							LAYER_LINEAR,
							LAYER_RELU,
							LAYER_DROPOUT,
							LAYER_LINEAR};
		for (uint32_t t = 0; t < 9; t++) {
			assert_string_equal(model.layers[l + 1 + t].name, tail[t]);
			assert_int_equal(model.layers[l + 1 + t].kind, kinds[t]);
		}
		assert_int_equal(model.layers[model.layer_count - 1].output.channels, 7);
	}
}

// Every size from the smallest on gives 6 x 6 (or 7 x 7) before the classifier, so the parameters are the
// same.
static void create_image_sizes_from_the_smallest_on_are_taken(void **state)
{
	for (uint32_t size = 63; size <= MODEL_MAXIMUM_IMAGE_SIZE; size += size < 80 ? 1 : 59)
		assert_int_equal(create("alexnet", size, 10).layers[14].output.channels, 9216);
	for (uint32_t size = 32; size <= MODEL_MAXIMUM_IMAGE_SIZE; size += size < 70 ? 1 : 61)
		assert_int_equal(create("vgg19", size, 10).layers[38].output.channels, 25088);
	create("alexnet", MODEL_MAXIMUM_IMAGE_SIZE, MODEL_MAXIMUM_CLASSES);
	create("vgg19", MODEL_MAXIMUM_IMAGE_SIZE, 1);
}

static void create_dropout_is_the_models_or_the_given_one(void **state)
{
	static const float given[] = {-1, 0, 0.25f}, expected[] = {0.5f, 0, 0.25f};
	static const char *const names[] = {"alexnet", "vgg11"};
	for (int n = 0; n < 2; n++)
		for (int i = 0; i < 3; i++) {
			struct model model;
			struct error error = {0};
			uint32_t dropouts = 0;
			assert_true(models_create_chain(names[n], 64, 10, given[i], &model, &error));
			for (uint32_t l = 0; l < model.layer_count; l++)
				if (model.layers[l].kind == LAYER_DROPOUT) {
					assert_true(model.layers[l].probability == expected[i]);
					dropouts++;
				}
			assert_int_equal(dropouts, 2);
		}
}

static void expect_refused(const char *name, uint32_t image_size, uint32_t classes, float dropout, const char *text)
{
	struct model model, before;
	struct error error = {0};
	memset(&model, 0x5a, sizeof(model));
	memcpy(&before, &model, sizeof(model));
	assert_false(models_create_chain(name, image_size, classes, dropout, &model, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	if (strstr(error.message, text) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", error.message, text);
	assert_memory_equal(&model, &before, sizeof(model));
}

static void create_takes_a_name_in_any_case(void **state)
{
	struct model model;
	struct error error;
	assert_true(models_create_chain("AlexNet", 224, 10, -1, &model, &error));
	assert_string_equal(model.name, "alexnet");
	assert_string_equal(models_find("VGG16", &error), "vgg16");
}

static void create_bad_request_is_refused(void **state)
{
	expect_refused("resnet101", 224, 10, -1, "alexnet, vgg11, vgg13, vgg16, vgg19");
	expect_refused("", 224, 10, -1, "unknown model");
	expect_refused("vgg-16", 224, 10, -1, "unknown model \"vgg-16\" (did you mean vgg16?)");
	expect_refused("alexnet", 62, 10, -1, "63 x 63 pixels at least");
	expect_refused("alexnet", 0, 10, -1, "63 x 63 pixels at least");
	expect_refused("vgg11", 31, 10, -1, "32 x 32 pixels at least");
	expect_refused("vgg19", 31, 10, -1, "32 x 32 pixels at least");
	expect_refused("vgg16", 1025, 10, -1, "1024 x 1024 at most");
	expect_refused("vgg16", UINT32_MAX, 10, -1, "1024 x 1024 at most");
	expect_refused("alexnet", 224, 0, -1, "0 classes");
	expect_refused("alexnet", 224, MODEL_MAXIMUM_CLASSES + 1, -1, "65536");
	expect_refused("alexnet", 224, 10, 1, "dropout 1");
	expect_refused("alexnet", 224, 10, NAN, "dropout");
	expect_refused("alexnet", 224, 10, INFINITY, "dropout inf");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(create_networks_have_torchvisions_parameters_and_flops),
		cmocka_unit_test(create_alexnet_has_torchvisions_layers_and_shapes),
		cmocka_unit_test(create_vgg_has_torchvisions_names_and_shapes),
		cmocka_unit_test(create_image_sizes_from_the_smallest_on_are_taken),
		cmocka_unit_test(create_dropout_is_the_models_or_the_given_one),
		cmocka_unit_test(create_takes_a_name_in_any_case),
		cmocka_unit_test(create_bad_request_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
