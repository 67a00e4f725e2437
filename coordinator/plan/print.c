// The plan as a table for people.
#include <inttypes.h>

#include "common/base/strings.h"
#include "coordinator/plan/plan.h"

// Tables and sentences keep to STRINGS_COLUMNS.
enum { LINE_SIZE = 400 };

static const char *column(uint64_t bytes, char text[32])
{
	return strings_format_bytes(bytes, text, 32);
}

static void print_stage(const struct plan *plan, uint32_t s, uint64_t all_flops, FILE *out)
{
	const struct plan_stage *stage = &plan->stages[s];
	const struct layer *layers = plan->model.layers;
	char range[2 * MODEL_NAME_SIZE + 8];
	snprintf(range, sizeof(range), "%s .. %s", layers[stage->first_layer].name, layers[stage->end_layer - 1].name);
	fprintf(out, "%5u  %2u-%-2u  %-30s %12" PRIu64 " %8.2f %5.1f%%\n", s, stage->first_layer, stage->end_layer - 1,
		range, stage->parameters, (double)stage->flops * 1e-9,
		100.0 * (double)stage->flops / (double)(all_flops > 0 ? all_flops : 1));
}

static void print_precision(const struct plan_options *options, FILE *out)
{
	char line[LINE_SIZE], scale[48] = "", kept[48] = "", alive[40] = "";
	if (options->compute_type == DATA_FLOAT16)
		snprintf(scale, sizeof(scale), ", loss scale %.10g at first", (double)options->initial_loss_scale);
	if (options->checkpoint_interval > 0)
		snprintf(kept, sizeof(kept), ", activations kept every %u layer%s", options->checkpoint_interval,
			 strings_plural(options->checkpoint_interval));
	if (options->in_flight > 0)
		snprintf(alive, sizeof(alive), ", at most %u in flight", options->in_flight);
	snprintf(line, sizeof(line), "computed in %s%s, sent in %s%s%s%s", data_type_name(options->compute_type),
		 options->allow_tf32 ? " with products in TF32" : "", data_type_name(options->boundary_type), scale,
		 kept, alive);
	strings_write_wrapped(line, out);
	fputs("\n", out);
}

static void print_replicas(const struct plan_options *options, FILE *out)
{
	uint32_t d = options->data_parallel_size;
	uint64_t samples = (uint64_t)options->micro_batch_size * options->micro_batches * d;
	char bucket[32], devices[32] = "";
	if (d > 1)
		snprintf(devices, sizeof(devices), "s, %u devices", d * options->pipeline_size);
	fprintf(out, "%u replica%s: %" PRIu64 " sample%s per step%s\n", d, devices, samples, strings_plural(samples),
		d > 1 ? ";" : "");
	if (d > 1)
		fprintf(out, "gradients are summed %s at once\n", column(options->reduce_bucket_bytes, bucket));
}

static void print_cost(const struct plan *plan, FILE *out)
{
	fprintf(out,
		"balance %.3f (mean stage over the largest, in FLOPs)\n"
		"bubble %.1f%% predicted from FLOPs, %.1f%% of equal stages, (p-1)/(m+p-1)\n",
		plan->balance, 100.0 * plan->bubble, 100.0 * plan->ideal_bubble);
	if (plan->options.checkpoint_interval > 0 || plan->options.in_flight > 0 || plan->cut_differs)
		fprintf(out, "predicted cost %.2f times the time of a plan without limits\n", plan->cost);
}

static void print_parts(const struct plan *plan, FILE *out)
{
	fprintf(out, "memory\n%5s %11s %11s %11s %11s %11s %11s\n", "stage", "parameters", "gradients", "optimizer",
		"stash", "workspace", "exchange");
	for (uint32_t s = 0; s < plan->options.pipeline_size; s++) {
		const struct plan_stage *stage = &plan->stages[s];
		char a[32], b[32], c[32], d[32], e[32], f[32];
		fprintf(out, "%5u %11s %11s %11s %11s %11s %11s\n", s, column(stage->parameter_bytes, a),
			column(stage->gradient_bytes, b), column(stage->optimizer_bytes, c),
			column(stage->stash_bytes, d), column(stage->workspace_bytes, e),
			column(stage->exchange_bytes, f));
	}
}

static void print_sums(const struct plan *plan, FILE *out)
{
	uint64_t limit = plan->options.memory_limit_bytes;
	fprintf(out, "%5s %11s %11s %11s%s\n", "stage", "alive", "sends", "sum", limit > 0 ? "  fits" : "");
	for (uint32_t s = 0; s < plan->options.pipeline_size; s++) {
		const struct plan_stage *stage = &plan->stages[s];
		char sends[32], sum[32], over[32];
		fprintf(out, "%5u %11u %11s %11s", s, plan->schedule->stage[s].slots,
			stage->output_bytes > 0 ? column(stage->output_bytes, sends) : "-",
			column(stage->memory_bytes, sum));
		if (limit > 0 && stage->memory_bytes > limit)
			fprintf(out, "  no, by %s\n", column(stage->memory_bytes - limit, over));
		else
			fputs(limit > 0 ? "  yes\n" : "\n", out);
	}
}

void plan_print_memory(const struct plan *plan, FILE *out)
{
	print_parts(plan, out);
	fputs("\n", out);
	print_sums(plan, out);
}

static void print_notes(const struct plan *plan, FILE *out)
{
	char limit[32];
	bool is_cuda = plan->options.device == PLAN_DEVICE_CUDA;
	fprintf(out,
		"\nalive: micro-batches whose activations are kept at once\n"
		"sends: to the next stage, per micro-batch\n"
		"sum: as the %s counts it, with the maximum scratch memory of kernels\n",
		is_cuda ? "CUDA device" : "CPU device");
	if (is_cuda)
		fputs("exchange: buffers in host memory, which are not in the sum\n", out);
	if (plan->options.memory_limit_bytes > 0)
		fprintf(out, "limit: %s\n", column(plan->options.memory_limit_bytes, limit));
}

void plan_print(const struct plan *plan, FILE *out)
{
	const struct plan_options *options = &plan->options;
	uint64_t flops = 0, parameters = 0;
	for (uint32_t s = 0; s < options->pipeline_size; s++) {
		flops += plan->stages[s].flops;
		parameters += plan->stages[s].parameters;
	}
	fprintf(out, "%s at image size %u: %u layers, %" PRIu64 " parameters,\n%.2f GFLOPs per sample and step\n",
		plan->model.name, plan->model.image_size, plan->model.layer_count, parameters, (double)flops * 1e-9);
	fprintf(out, "pipeline size %u, schedule %s, %u micro-batch%s of %u, cut by %s\n", options->pipeline_size,
		options->schedule, options->micro_batches, options->micro_batches == 1 ? "" : "es",
		options->micro_batch_size, options->split != NULL ? options->split : options->partition_method);
	print_replicas(options, out);
	print_precision(options, out);
	fprintf(out, "%5s  %-5s  %-30s %12s %8s %6s\n", "stage", "layer", "from .. to", "parameters", "GFLOPs",
		"share");
	for (uint32_t s = 0; s < options->pipeline_size; s++)
		print_stage(plan, s, flops, out);
	fputs("\n", out);
	print_cost(plan, out);
	fputs("\n", out);
	plan_print_memory(plan, out);
	print_notes(plan, out);
}
