// The plan as a table for people.
#include <inttypes.h>

#include "common/base/strings.h"
#include "coordinator/plan/plan.h"

static void print_stage(const struct plan *plan, uint32_t s, uint64_t all_flops, FILE *out)
{
	const struct plan_stage *stage = &plan->stages[s];
	const struct layer *layers = plan->model.layers;
	char range[2 * MODEL_NAME_SIZE + 8], memory[32], boundary[32];
	snprintf(range, sizeof(range), "%s .. %s", layers[stage->first_layer].name, layers[stage->end_layer - 1].name);
	fprintf(out, "%5u  %2u-%-2u  %-30s %12" PRIu64 " %8.2f %5.1f%% %6u %11s %11s\n", s, stage->first_layer,
		stage->end_layer - 1, range, stage->parameters, (double)stage->flops * 1e-9,
		100.0 * (double)stage->flops / (double)(all_flops > 0 ? all_flops : 1), plan->schedule->stage[s].slots,
		strings_format_bytes(stage->memory_bytes, memory, sizeof(memory)),
		stage->output_bytes > 0 ? strings_format_bytes(stage->output_bytes, boundary, sizeof(boundary)) : "-");
}

static void print_precision(const struct plan_options *options, FILE *out)
{
	fprintf(out, "computed in %s%s, sent in %s", data_type_name(options->compute_type),
		options->allow_tf32 ? " with products in TF32" : "", data_type_name(options->boundary_type));
	if (options->compute_type == DATA_FLOAT16)
		fprintf(out, ", loss scale %.10g at first", (double)options->initial_loss_scale);
	if (options->checkpoint_interval > 0)
		fprintf(out, ", activations kept every %u layers", options->checkpoint_interval);
	fputs("\n\n", out);
}

static void print_replicas(const struct plan_options *options, FILE *out)
{
	uint32_t d = options->data_parallel_size;
	uint64_t samples = (uint64_t)options->micro_batch_size * options->micro_batches * d;
	char bucket[32];
	if (d == 1)
		fprintf(out, "1 replica: %" PRIu64 " samples a step\n", samples);
	else
		fprintf(out, "%u replicas, %u devices: %" PRIu64 " samples a step; gradients are summed %s at once\n",
			d, d * options->pipeline_size, samples,
			strings_format_bytes(options->reduce_bucket_bytes, bucket, sizeof(bucket)));
}

void plan_print(const struct plan *plan, FILE *out)
{
	const struct plan_options *options = &plan->options;
	uint64_t flops = 0, parameters = 0;
	for (uint32_t s = 0; s < options->pipeline_size; s++) {
		flops += plan->stages[s].flops;
		parameters += plan->stages[s].parameters;
	}
	fprintf(out, "%s at image size %u: %u layers, %" PRIu64 " parameters, %.2f GFLOPs per sample and step\n",
		plan->model.name, plan->model.image_size, plan->model.layer_count, parameters, (double)flops * 1e-9);
	fprintf(out, "pipeline size %u, schedule %s, %u micro-batches of %u, cut by %s\n", options->pipeline_size,
		options->schedule, options->micro_batches, options->micro_batch_size,
		options->split != NULL ? options->split : options->partition_method);
	print_replicas(options, out);
	print_precision(options, out);
	fprintf(out, "%5s  %-5s  %-30s %12s %8s %6s %6s %11s %11s\n", "stage", "layer", "from .. to", "parameters",
		"GFLOPs", "share", "alive", "memory", "sends");
	for (uint32_t s = 0; s < options->pipeline_size; s++)
		print_stage(plan, s, flops, out);
	fprintf(out,
		"\nalive: micro-batches whose activations are kept at once; sends: to the next stage, per micro-batch\n"
		"memory: estimated, without the kernels' scratch memory, up to 130 MiB a stage on the CPU\n"
		"balance %.3f (mean stage over the largest, in FLOPs); bubble of equal stages %.1f%%, (p-1)/(m+p-1)\n",
		plan->balance, 100.0 * plan->ideal_bubble);
}
