// The verdict for people. See verdict.h.
#include "coordinator/prove/verdict.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/strings.h"
#include "common/model/optimizer.h"

enum { KERNELS_SHOWN = 8 };

const char *difference_name(enum difference_kind kind)
{
	static const char *const names[] = {
		[DIFFERENCE_NONE] = "none",
		[DIFFERENCE_LOSS] = "loss",
		[DIFFERENCE_CORRECT] = "correct",
		[DIFFERENCE_GRADIENT] = "gradient",
		[DIFFERENCE_GRADIENT_NORM] = "gradient_norm",
		[DIFFERENCE_SKIPPED] = "skipped",
		[DIFFERENCE_PARAMETER] = "parameter",
	};
	return names[kind];
}

char *verdict_element(const struct model *model, uint32_t parameter, uint64_t element, char *into)
{
	struct parameter described;
	uint64_t index[4] = {0};
	model_parameter(model, parameter, &described);
	for (uint32_t i = described.rank; i-- > 0;) {
		index[i] = element % described.dimensions[i];
		element /= described.dimensions[i];
	}
	size_t length = (size_t)snprintf(into, VERDICT_ELEMENT_SIZE, "%s[", described.name);
	for (uint32_t i = 0; i < described.rank; i++)
		length += (size_t)snprintf(into + length, VERDICT_ELEMENT_SIZE - length, "%s%" PRIu64,
					   i > 0 ? ", " : "", index[i]);
	snprintf(into + length, VERDICT_ELEMENT_SIZE - length, "]");
	return into;
}

bool proof_rounds_boundaries(const struct proof *proof)
{
	const struct plan_options *options = &proof->pipeline->options;
	return options->pipeline_size > 1 && options->boundary_type != DATA_FLOAT32 &&
	       options->boundary_type != options->compute_type;
}

static bool has_replicas(const struct proof *proof)
{
	return proof->pipeline->options.data_parallel_size > 1;
}

static const char *reference_name(const struct proof *proof)
{
	return has_replicas(proof) ? "no pipeline" : "one device";
}

// ---- Before the trainings

static void print_ranks(const struct proof *proof, const struct plan *plan, FILE *out)
{
	for (uint32_t r = 0; r < plan_rank_count(plan); r++) {
		const struct plan_stage *stage = &plan->stages[plan_rank_stage(plan, r)];
		char replica[32] = "";
		if (has_replicas(proof))
			snprintf(replica, sizeof(replica), " of replica %u", plan_rank_replica(plan, r));
		fprintf(out, "  stage %u%s, layers %u-%u: %s\n", plan_rank_stage(plan, r), replica, stage->first_layer,
			stage->end_layer - 1, proof->addresses[r]);
	}
}

static const char *batches_end(const struct plan *plan)
{
	return plan->options.micro_batches == 1 ? "" : "es";
}

static void print_reference(const struct proof *proof, FILE *out)
{
	uint32_t d = proof->reference->options.data_parallel_size;
	if (d > 1)
		fprintf(out, "no pipeline: %u replicas, each with the whole network on one device\n", d);
	else
		fprintf(out, "one device: %u micro-batch%s of %u a step, one after another\n",
			proof->reference->options.micro_batches, batches_end(proof->reference),
			proof->reference->options.micro_batch_size);
	print_ranks(proof, proof->reference, out);
}

static void print_pipeline(const struct proof *proof, FILE *out)
{
	const struct plan *plan = proof->pipeline;
	const struct plan_options *options = &plan->options;
	uint32_t alive = 0;
	for (uint32_t s = 0; s < options->pipeline_size; s++)
		alive = plan->schedule->stage[s].slots > alive ? plan->schedule->stage[s].slots : alive;
	fprintf(out, "pipeline: %u stage%s, %s, %u micro-batch%s of %u a step, at most %u alive in a stage",
		options->pipeline_size, strings_plural(options->pipeline_size), options->schedule,
		options->micro_batches, batches_end(plan), options->micro_batch_size, alive);
	if (options->checkpoint_interval > 0)
		fprintf(out, ",\nactivations kept every %u layer%s, others computed again",
			options->checkpoint_interval, strings_plural(options->checkpoint_interval));
	if (has_replicas(proof))
		fprintf(out, ",\n%u replicas", options->data_parallel_size);
	fputs("\n", out);
	print_ranks(proof, plan, out);
}

void verdict_print_proof(const struct proof *proof, FILE *out)
{
	const struct plan_options *options = &proof->pipeline->options;
	const struct model *model = &proof->pipeline->model;
	uint64_t samples = (uint64_t)options->micro_batch_size * options->micro_batches * options->data_parallel_size;
	fprintf(out,
		"proof: %s, image size %u, %u classes; %" PRIu64 " step%s of %" PRIu64
		" sample%s; %s, %s%s, seed %" PRIu64 "\n",
		model->name, model->image_size, model->classes, proof->steps, strings_plural(proof->steps), samples,
		strings_plural(samples), optimizer_name(options->optimizer.kind), data_type_name(options->compute_type),
		options->allow_tf32 ? " with products in TF32" : "", options->seed);
	print_reference(proof, out);
	print_pipeline(proof, out);
	if (has_replicas(proof))
		fputs("note: the number of replicas decides the order in which gradients are summed, so the same\n"
		      "number of replicas is compared, with and without a pipeline\n",
		      out);
	if (proof_rounds_boundaries(proof))
		fprintf(out,
			"note: tensors between stages are rounded to %s, which one device does not need: the bits\n"
			"differ by design\n",
			data_type_name(options->boundary_type));
	fputs("\n", out);
}

// ---- After them

static const char *ulp_text(uint64_t ulp, char into[48])
{
	if (ulp == UINT64_MAX)
		snprintf(into, 48, "not a number");
	else
		snprintf(into, 48, "%" PRIu64 " ULP apart", ulp);
	return into;
}

static void print_values(const struct verdict *verdict, const struct difference *difference, FILE *out)
{
	const char *first = reference_name(verdict->proof);
	bool is_float = difference->kind == DIFFERENCE_PARAMETER;
	int digits = is_float ? 9 : 17, hex = is_float ? 8 : 16;
	char ulp[48];
	if (difference->kind == DIFFERENCE_CORRECT || difference->kind == DIFFERENCE_SKIPPED) {
		fprintf(out, "  %-11s  %.0f\n  %-11s  %.0f\n", first, difference->reference, "pipeline",
			difference->got);
		return;
	}
	fprintf(out, "  %-11s  %-24.*g  0x%0*" PRIx64 "\n  %-11s  %-24.*g  0x%0*" PRIx64 "  %s\n", first, digits,
		strings_unsigned_nan(difference->reference), hex, difference->reference_bits, "pipeline", digits,
		strings_unsigned_nan(difference->got), hex, difference->got_bits, ulp_text(difference->ulp, ulp));
}

// "the gradient of features.3.weight (layer 3 in stage 1)".
static void print_place(const struct verdict *verdict, const struct difference *difference, FILE *out)
{
	const struct plan *plan = verdict->proof->pipeline;
	struct parameter parameter;
	char element[VERDICT_ELEMENT_SIZE];
	uint32_t stage = 0;
	model_parameter(&plan->model, difference->parameter, &parameter);
	while (stage + 1 < plan->options.pipeline_size && plan->stages[stage].end_layer <= parameter.layer)
		stage++;
	if (difference->kind == DIFFERENCE_GRADIENT)
		fprintf(out, "the gradient of %s, as its sum of squares", parameter.name);
	else
		fprintf(out, "%s, element %" PRIu64,
			verdict_element(&plan->model, difference->parameter, difference->element, element),
			difference->element);
	fprintf(out, " (layer %u, stage %u)", parameter.layer, stage);
}

static void print_first(const struct verdict *verdict, FILE *out)
{
	const struct difference *first = &verdict->comparison->first;
	if (first->kind == DIFFERENCE_PARAMETER) // which is printed with the parameters
		return;
	fprintf(out, "the first difference is in step %" PRIu64 ": ", first->step);
	switch (first->kind) {
	case DIFFERENCE_LOSS:
		fputs("the loss", out);
		break;
	case DIFFERENCE_CORRECT:
		fputs("the number of correctly classified samples", out);
		break;
	case DIFFERENCE_SKIPPED:
		fputs("whether it was skipped because a gradient overflowed", out);
		break;
	case DIFFERENCE_GRADIENT:
		print_place(verdict, first, out);
		break;
	default:
		fputs("the gradient norm", out);
		break;
	}
	fputs("\n", out);
	print_values(verdict, first, out);
}

static void print_parameters(const struct verdict *verdict, FILE *out)
{
	const struct comparison *c = verdict->comparison;
	if (c->elements_differ == 0) {
		fputs("the final parameters are equal\n", out);
		return;
	}
	fprintf(out, "final parameters: %u of %u differ, in %" PRIu64 " of %" PRIu64 " elements; the first is\n",
		c->parameters_differ, c->parameters, c->elements_differ, c->elements);
	print_place(verdict, &c->first_value, out);
	fputs("\n", out);
	print_values(verdict, &c->first_value, out);
}

static void print_kernel(const char *training, const char *kernel, const char *machine, FILE *out)
{
	if (kernel != NULL)
		fprintf(out, "  %-11s  %s on %s\n", training, kernel, machine);
	else
		fprintf(out, "  %-11s  not asked\n", training);
}

static void print_kernels(const struct verdict *verdict, FILE *out)
{
	const struct plan *plan = verdict->proof->pipeline;
	struct kernel_difference differences[KERNELS_SHOWN];
	uint32_t count = kernels_compare(&verdict->reference->kernels, &verdict->pipeline->kernels,
					 plan->options.data_parallel_size, differences, KERNELS_SHOWN);
	if (count == 0) {
		fputs("both trainings used the same kernels for every pass of every layer\n", out);
		return;
	}
	fprintf(out, "kernels that differ: %u\n", count);
	for (uint32_t i = 0; i < count && i < KERNELS_SHOWN; i++) {
		const struct kernel_difference *d = &differences[i];
		fprintf(out, "layer %u, %s: %s\n", d->layer, plan->model.layers[d->layer].name, d->question);
		print_kernel(reference_name(verdict->proof), d->reference, d->reference_machine, out);
		print_kernel("pipeline", d->pipeline, d->pipeline_machine, out);
	}
	if (count > KERNELS_SHOWN)
		fprintf(out, "and %u more\n", count - KERNELS_SHOWN);
}

static void print_machines(const struct verdict *verdict, FILE *out)
{
	const struct kernel_list *list = &verdict->pipeline->kernels;
	if (list->rank_count == 0)
		return;
	if (kernels_share_machine(&verdict->reference->kernels, list)) {
		fprintf(out, "computed on %s\n", list->machines[0]);
		return;
	}
	fputs("note: the devices are of different kinds, so equal bits cannot be promised\n", out);
	fprintf(out, "  %s: %s\n", reference_name(verdict->proof), verdict->reference->kernels.machines[0]);
	for (uint32_t r = 0; r < list->rank_count; r++)
		fprintf(out, "  %s: %s\n", verdict->proof->addresses[r], list->machines[r]);
}

static void print_divergence(const struct comparison *c, FILE *out)
{
	if (!c->diverged)
		return;
	if (c->diverged_step < c->steps)
		fprintf(out,
			"note: the training diverged: from step %" PRIu64
			" on there are values that are infinite or not a number\n",
			c->diverged_step);
	else
		fputs("note: the training diverged: final parameters are infinite or not a number\n", out);
}

static void print_comparison(const struct verdict *verdict, FILE *out)
{
	const struct comparison *c = verdict->comparison;
	const char *reference =
		has_replicas(verdict->proof) ? "the same replicas train without a pipeline" : "one device trains";
	fprintf(out,
		"compared bit for bit: %" PRIu64 " loss%s, %" PRIu64 " gradient norm%s, %" PRIu64
		" norms of single gradients,\n%u final parameters with %" PRIu64 " elements\n",
		c->steps, c->steps == 1 ? "" : "es", c->steps, strings_plural(c->steps), c->gradients, c->parameters,
		c->elements);
	if (comparison_is_equal(c)) {
		fprintf(out, "EQUAL: the pipeline trained exactly what %s\n", reference);
	} else {
		fprintf(out,
			"DIFFERENT: the pipeline did not train what %s\n"
			"%" PRIu64 " of %" PRIu64 " losses differ, %" PRIu64 " of %" PRIu64 " gradient norms, %" PRIu64
			" of %" PRIu64 " norms of single gradients\n",
			reference, c->losses_differ, c->steps, c->norms_differ, c->steps, c->gradients_differ,
			c->gradients);
		print_first(verdict, out);
		print_parameters(verdict, out);
		print_kernels(verdict, out);
		if (proof_rounds_boundaries(verdict->proof))
			fprintf(out, "this is by design: tensors between stages are rounded to %s\n",
				data_type_name(verdict->proof->pipeline->options.boundary_type));
	}
	print_divergence(c, out);
	print_machines(verdict, out);
}

static void print_against(const struct verdict *verdict, FILE *out)
{
	const struct against *against = verdict->against;
	const struct model *model = &verdict->proof->pipeline->model;
	char element[VERDICT_ELEMENT_SIZE], ulp[48];
	struct parameter parameter;
	fprintf(out,
		"\ncompared with %s: %u parameters with %" PRIu64 " elements, of which %" PRIu64 " differ\n"
		"%s: %u of %u parameters are within a relative difference of %g or %" PRIu64 " ULP\n",
		verdict->proof->against_path, against->count, against->elements, against->differ,
		against->agree == against->count ? "AGREES" : "DISAGREES", against->agree, against->count,
		against->tolerance.relative, against->tolerance.ulp);
	if (against->differ == 0 || against->count == 0)
		return;
	const struct against_parameter *worst = &against->parameters[against->worst];
	model_parameter(model, against->worst, &parameter);
	fprintf(out,
		"worst: %s, relative difference %.2e; its largest difference is at\n%s: %.9g here, %.9g in the file, "
		"%s\n",
		parameter.name, strings_unsigned_nan(worst->relative),
		verdict_element(model, against->worst, worst->element, element),
		strings_unsigned_nan((double)worst->ours), strings_unsigned_nan((double)worst->theirs),
		ulp_text(compare_ulp_float(worst->ours, worst->theirs), ulp));
	for (uint32_t i = 0; i < against->count; i++) {
		if (against->parameters[i].agrees)
			continue;
		model_parameter(model, i, &parameter);
		fprintf(out, "  %s: relative difference %.2e, elements up to %s\n", parameter.name,
			strings_unsigned_nan(against->parameters[i].relative),
			ulp_text(against->parameters[i].largest_ulp, ulp));
	}
}

void verdict_print(const struct verdict *verdict, FILE *out)
{
	print_comparison(verdict, out);
	if (verdict->against != NULL)
		print_against(verdict, out);
}
