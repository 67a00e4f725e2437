// What the real cuDNN offers for the convolutions that this device describes, on machines where it is installed and no GPU is: cuDNN
// plans for a GPU by its description (gpus.h). The device's own files ask, unchanged but for what the linker puts in between: where
// they give cuDNN a handle, it gets the description (deviceless ahead-of-time compilation, cuDNN 9.8 and later).
//
// Every convolution of AlexNet and VGG-16 must have a plan that this device may use, in each pass, precision and on each GPU, and each
// forward pass one that fuses bias and ReLU. Nothing runs. How many configurations cuDNN names and how many plans are kept is printed.
// Without a driver cuDNN names those engines alone that it does not compile when a plan is built.
#include "tests/unit/cmocka_all.h"

#include <cudnn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/model/model.h"
#include "coordinator/models/models.h"
#include "stage_server/device/cuda/convolution_plans.h"
#include "stage_server/device/cuda/libraries.h"
#include "stage_server/device/cuda/program.h"
#include "tests/unit/device/cuda/gpus.h"

// ---- in the place of a handle (linked with --wrap)

static cudnnBackendDescriptor_t described; // the GPU that is planned for
static uint64_t configurations;            // that the heuristics have named

cudnnStatus_t __real_cudnnBackendSetAttribute(cudnnBackendDescriptor_t into, cudnnBackendAttributeName_t name,
					      cudnnBackendAttributeType_t type, int64_t count, const void *values);
cudnnStatus_t __real_cudnnBackendGetAttribute(cudnnBackendDescriptor_t from, cudnnBackendAttributeName_t name,
					      cudnnBackendAttributeType_t type, int64_t count, int64_t *ret_count,
					      void *ret);

static cudnnStatus_t set_description(cudnnBackendDescriptor_t into, cudnnBackendAttributeName_t name)
{
	return __real_cudnnBackendSetAttribute(into, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &described);
}

cudnnStatus_t __wrap_cudnnBackendSetAttribute(cudnnBackendDescriptor_t into, cudnnBackendAttributeName_t name,
					      cudnnBackendAttributeType_t type, int64_t count, const void *values)
{
	if (name == CUDNN_ATTR_OPERATIONGRAPH_HANDLE)
		return CUDNN_STATUS_SUCCESS; // a graph of no GPU in particular
	if (name == CUDNN_ATTR_EXECUTION_PLAN_HANDLE)
		return set_description(into, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP);
	cudnnStatus_t status = __real_cudnnBackendSetAttribute(into, name, type, count, values);
	if (name == CUDNN_ATTR_ENGINEHEUR_MODE && status == CUDNN_STATUS_SUCCESS)
		status = set_description(into, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP);
	return status;
}

cudnnStatus_t __wrap_cudnnBackendGetAttribute(cudnnBackendDescriptor_t from, cudnnBackendAttributeName_t name,
					      cudnnBackendAttributeType_t type, int64_t count, int64_t *ret_count,
					      void *ret)
{
	cudnnStatus_t status = __real_cudnnBackendGetAttribute(from, name, type, count, ret_count, ret);
	if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS && status == CUDNN_STATUS_SUCCESS)
		configurations += (uint64_t)*ret_count;
	return status;
}

static bool describe(const struct gpu *gpu)
{
	char text[2048];
	int length = gpu_describe(gpu, text, sizeof(text));
	if (described != NULL)
		cudnnBackendDestroyDescriptor(described);
	described = NULL;
	if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &described) == CUDNN_STATUS_SUCCESS &&
	    __real_cudnnBackendSetAttribute(described, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
					    length, text) == CUDNN_STATUS_SUCCESS &&
	    cudnnBackendFinalize(described) == CUDNN_STATUS_SUCCESS)
		return true;
	char why[512] = "";
	cudnnGetLastErrorString(why, sizeof(why));
	printf("cuDNN does not take the description of %s: %s\n", gpu->name, why);
	return false;
}

// ---- what is asked

static const struct precision {
	const char *name;
	enum data_type type;
	bool allow_tf32;
	uint32_t capability;     // the first that computes in it
	uint32_t image_channels; // as program.c pads them
} precisions[] = {
	{"float32", DATA_FLOAT32, false, 75, 3},
	{"TF32", DATA_FLOAT32, true, 80, 4},
	{"bfloat16", DATA_BFLOAT16, false, 80, 8},
	{"float16", DATA_FLOAT16, false, 75, 8},
};
enum { PRECISIONS = sizeof(precisions) / sizeof(precisions[0]) };

static const char *const pass_names[] = {"forward", "backward input", "backward weight"};

static const struct network {
	const char *name;
	uint32_t image_size, micro_batch;
} networks[] = {{"alexnet", 256, 128}, {"vgg16", 512, 8}, {"vgg16", 512, 32}};
enum { NETWORKS = sizeof(networks) / sizeof(networks[0]), MAXIMUM_SPECS = 64 };

static struct convolution_spec spec_of(const struct layer *layer, uint32_t micro_batch)
{
	return (struct convolution_spec){
		.n = micro_batch,
		.channels = layer->input.channels,
		.height = layer->input.height,
		.width = layer->input.width,
		.output_channels = layer->out_channels,
		.output_height = layer->output.height,
		.output_width = layer->output.width,
		.kernel_size = layer->kernel_size,
		.stride = layer->stride,
		.padding = layer->padding,
	};
}

// The networks' convolutions, each shape once; images have 3 channels here.
static uint32_t specs_of_networks(struct convolution_spec specs[MAXIMUM_SPECS])
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < NETWORKS; i++) {
		struct model model;
		struct error error = {0};
		if (!models_create_chain(networks[i].name, networks[i].image_size, 1000, 0.5f, &model, &error))
			fail_msg("%s", error.message);
		for (uint32_t layer = 0; layer < model.layer_count; layer++) {
			if (model.layers[layer].kind != LAYER_CONVOLUTION)
				continue;
			struct convolution_spec spec = spec_of(&model.layers[layer], networks[i].micro_batch);
			bool is_new = true;
			for (uint32_t other = 0; other < count; other++)
				is_new &= memcmp(&spec, &specs[other], sizeof(spec)) != 0;
			assert_true(count < MAXIMUM_SPECS);
			if (is_new)
				specs[count++] = spec;
		}
	}
	return count;
}

// Of one pass in one precision on one GPU, over the shapes.
struct tally {
	uint64_t shapes, configurations, plans, fused_shapes, workspace_bytes;
};

static bool is_fused(const struct convolution_plans *plans)
{
	char name[256];
	convolution_plans_name(plans, 0, name, sizeof(name));
	return strncmp(name, "fused.", 6) == 0;
}

static bool ask(struct convolution_spec spec, const struct precision *precision, enum convolution_pass pass,
		struct tally *tally)
{
	struct error error = {0};
	struct convolution_plans *plans = NULL;
	bool is_image = spec.channels == 3;
	if (is_image && pass == CONVOLUTION_BACKWARD_INPUT)
		return true;
	spec.channels = is_image ? precision->image_channels : spec.channels;
	spec.type = precision->type;
	spec.allow_tf32 = precision->allow_tf32;
	configurations = 0;
	if (!convolution_plans_create(NULL, &spec, pass, pass == CONVOLUTION_FORWARD,
				      convolution_plans_limit(&spec, CUDA_WORKSPACE_LIMIT_BYTES), NULL, &plans,
				      &error)) {
		printf("%s\n", error.message);
		return false;
	}
	tally->shapes++;
	tally->configurations += configurations;
	tally->plans += convolution_plans_count(plans);
	tally->fused_shapes += is_fused(plans);
	uint64_t bytes = convolution_plans_workspace_bytes(plans);
	tally->workspace_bytes = bytes > tally->workspace_bytes ? bytes : tally->workspace_bytes;
	convolution_plans_destroy(plans);
	return true;
}

static bool ask_all(const struct gpu *gpu, const struct precision *precision, const struct convolution_spec *specs,
		    uint32_t count)
{
	bool ok = true;
	for (enum convolution_pass pass = CONVOLUTION_FORWARD; pass <= CONVOLUTION_BACKWARD_WEIGHT; pass++) {
		struct tally tally = {0};
		uint64_t begin_ns = clock_now_ns();
		for (uint32_t i = 0; i < count; i++)
			ok &= ask(specs[i], precision, pass, &tally);
		printf("%-24s %-9s %-15s %2llu shapes: %4llu configurations named, %3llu plans kept, %2llu fused, at "
		       "most %4llu "
		       "MiB of workspace, %.1f s\n",
		       gpu->name, precision->name, pass_names[pass], (unsigned long long)tally.shapes,
		       (unsigned long long)tally.configurations, (unsigned long long)tally.plans,
		       (unsigned long long)tally.fused_shapes, (unsigned long long)tally.workspace_bytes >> 20,
		       (clock_now_ns() - begin_ns) / 1e9);
		if (pass == CONVOLUTION_FORWARD && tally.fused_shapes != tally.shapes) {
			printf("not every forward pass is fused\n");
			ok = false;
		}
	}
	return ok;
}

static void every_layer_has_engines_on_every_gpu(void **state)
{
	struct convolution_spec specs[MAXIMUM_SPECS];
	uint32_t count = specs_of_networks(specs);
	bool ok = true;
	for (uint32_t gpu = 0; gpu < GPUS; gpu++) {
		assert_true(describe(&gpus[gpu]));
		for (uint32_t i = 0; i < PRECISIONS; i++)
			if (gpus[gpu].capability >= precisions[i].capability)
				ok &= ask_all(&gpus[gpu], &precisions[i], specs, count);
	}
	assert_true(ok);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_layer_has_engines_on_every_gpu)};
	enum { SKIPPED = 77, PLANS_WITHOUT_A_GPU = 90800 };
	struct error error = {0};
	if (!libraries_load(&error)) {
		printf("skipped: %s\n", error.message);
		return SKIPPED;
	}
	printf("cuDNN %zu\n", cudnnGetVersion());
	if (cudnnGetVersion() < PLANS_WITHOUT_A_GPU) {
		printf("skipped: cuDNN plans for GPUs that are not there from 9.8 on\n");
		return SKIPPED;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
