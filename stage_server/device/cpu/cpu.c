// The CPU device's row in the table of devices, and what belongs to a device rather than to a program.
//
// Threads of a program are an OpenMP team (libgomp) of the thread that calls it: each executor has its own. A program of
// one thread starts no team, so any number of daemons with one thread each never spin; see docs/internals/device.md for more.
#include "stage_server/device/cpu/cpu.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/processors.h"
#include "stage_server/device/cpu/program.h"

static void cpu_destroy(struct device *device)
{
	if (device == NULL)
		return;
	onednn_destroy(device->onednn);
	free(device);
}

// "GenuineIntel-6-207": what kernels are fast depends on it.
static void processor_name(char *into, size_t size)
{
	char vendor[32] = "", family[16] = "", model[16] = "", line[256];
	FILE *file = fopen("/proc/cpuinfo", "re");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL && model[0] == '\0') {
		sscanf(line, "vendor_id : %31s", vendor);
		sscanf(line, "cpu family : %15s", family);
		sscanf(line, "model : %15s", model);
	}
	if (file != NULL)
		fclose(file);
	snprintf(into, size, "%s-%s-%s", vendor, family, model);
}

// What kernels and their bits depend on besides the shape.
static void machine_name(uint32_t threads, char *into, size_t size)
{
	char processor[72], library[32], instructions[16];
	processor_name(processor, sizeof(processor));
	onednn_version(library, sizeof(library));
	onednn_instructions(instructions, sizeof(instructions));
	snprintf(into, size, "%s/%s/%s/threads=%u", processor, library, instructions, threads);
	for (char *c = into; *c != '\0'; c++)
		if (*c == ' ' || *c == '\t')
			*c = '-';
}

static bool cpu_create(const struct device_options *options, struct device **ret_device, struct error *error)
{
	const char *index = strchr(options->name, ':');
	if (index != NULL && strspn(index + 1, "0") != strlen(index + 1))
		return error_set(error, ERROR_USAGE,
				 "open device %.40s: the only CPU device is \"cpu\", also called \"cpu:0\"",
				 options->name);
	struct device *device = calloc(1, sizeof(*device));
	if (device == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	device->threads = options->threads > 0 ? options->threads : processors_allowed();
	if (!onednn_create(&device->onednn, error)) {
		cpu_destroy(device);
		return error_wrap(error, "open device cpu");
	}
	*ret_device = device;
	return true;
}

static void cpu_describe(const struct device *device, struct device_info *ret_info)
{
	char version[48], instructions[48];
	onednn_version(version, sizeof(version));
	onednn_instructions(instructions, sizeof(instructions));
	*ret_info = (struct device_info){
		.name = "cpu",
		.threads = device->threads,
		.shares_host_memory = true,
		.physical_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE),
	};
	snprintf(ret_info->description, sizeof(ret_info->description), "%s, %s", version, instructions);
	machine_name(device->threads, ret_info->machine, sizeof(ret_info->machine));
}

// The system's own tools say it better.
static void cpu_sample(const struct device *device, struct device_sample *ret_sample)
{
	*ret_sample = (struct device_sample){NAN, NAN, NAN, NAN, NAN};
}

static void *cpu_host_allocate(struct device *device, size_t bytes)
{
	return aligned_alloc(64, (bytes + 63) / 64 * 64);
}

static void cpu_host_free(struct device *device, void *memory)
{
	free(memory);
}

const struct device_ops cpu_device_ops = {
	.name = "cpu",
	.create = cpu_create,
	.destroy = cpu_destroy,
	.describe = cpu_describe,
	.sample = cpu_sample,
	.host_allocate = cpu_host_allocate,
	.host_free = cpu_host_free,
	.exchange_allocate = cpu_host_allocate,
	.exchange_free = cpu_host_free,
	.program_create = cpu_program_create,
	.program_allocate = cpu_program_allocate,
	.program_destroy = cpu_program_destroy,
	.program_memory = cpu_program_memory,
	.write_parameter = cpu_write_parameter,
	.read_parameter = cpu_read_parameter,
	.read_gradient = cpu_read_gradient,
	.write_gradient = cpu_write_gradient,
	.load_images = cpu_load_images,
	.load_labels = cpu_load_labels,
	.write_input = cpu_write_input,
	.read_output = cpu_read_output,
	.write_output_gradient = cpu_write_output_gradient,
	.read_input_gradient = cpu_read_input_gradient,
	.forward = cpu_forward,
	.loss = cpu_loss,
	.read_losses = cpu_read_losses,
	.loss_backward = cpu_loss_backward,
	.backward_weight = cpu_backward_weight,
	.backward_input = cpu_backward_input,
	.zero_gradients = cpu_zero_gradients,
	.gradient_squares = cpu_gradient_squares,
	.optimizer_step = cpu_optimizer_step,
	.synchronize = cpu_synchronize,
	.mark = cpu_mark,
	.elapsed = cpu_elapsed,
};
