// The verdict as JSON lines. See verdict.h.
#include <inttypes.h>
#include <jansson.h>
#include <math.h>

#include "common/model/optimizer.h"
#include "coordinator/prove/verdict.h"
#include "coordinator/report/json_text.h"

enum { KERNELS_WRITTEN = 256 };

// JSON has no infinity and no NaN: null.
static json_t *number(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

static json_t *ranks_of(const struct proof *proof, const struct plan *plan)
{
	json_t *ranks = json_array();
	for (uint32_t r = 0; r < plan_rank_count(plan); r++) {
		const struct plan_stage *stage = &plan->stages[plan_rank_stage(plan, r)];
		json_array_append_new(ranks,
				      json_pack("{s:i, s:i, s:i, s:i, s:s}", "pipeline_stage",
						(int)plan_rank_stage(plan, r), "replica",
						(int)plan_rank_replica(plan, r), "first_layer", (int)stage->first_layer,
						"end_layer", (int)stage->end_layer, "address", proof->addresses[r]));
	}
	return ranks;
}

static json_t *training_of(const struct proof *proof, const struct plan *plan)
{
	const struct plan_options *options = &plan->options;
	return json_pack("{s:i, s:i, s:s, s:i, s:i, s:i, s:o}", "pipeline_size", (int)options->pipeline_size,
			 "data_parallel_size", (int)options->data_parallel_size, "schedule", options->schedule,
			 "micro_batches", (int)options->micro_batches, "in_flight", (int)options->in_flight,
			 "activation_checkpoint_interval", (int)options->checkpoint_interval, "stages",
			 ranks_of(proof, plan));
}

bool verdict_write_proof(const struct proof *proof, FILE *json, struct error *error)
{
	const struct plan_options *options = &proof->pipeline->options;
	const struct model *model = &proof->pipeline->model;
	return json_text_write(
		json,
		json_pack("{s:s, s:s, s:i, s:i, s:I, s:i, s:s, s:s, s:s, s:I, s:b, s:o, s:o}", "type", "proof", "model",
			  model->name, "image_size", (int)model->image_size, "classes", (int)model->classes, "steps",
			  (json_int_t)proof->steps, "micro_batch_size", (int)options->micro_batch_size, "optimizer",
			  optimizer_name(options->optimizer.kind), "compute_type",
			  data_type_name(options->compute_type), "boundary_type",
			  data_type_name(options->boundary_type), "seed", (json_int_t)options->seed, "boundaries_round",
			  proof_rounds_boundaries(proof), "reference", training_of(proof, proof->reference), "pipeline",
			  training_of(proof, proof->pipeline)),
		error);
}

static bool write_step(const struct verdict *verdict, uint64_t step, FILE *json, struct error *error)
{
	const struct capture_step *a = &verdict->reference->steps[step], *b = &verdict->pipeline->steps[step];
	return json_text_write(json,
			       json_pack("{s:s, s:I, s:o, s:o, s:o, s:o}", "type", "step", "step", (json_int_t)step,
					 "reference_loss", number(a->loss), "loss", number(b->loss),
					 "reference_gradient_norm", number(a->gradient_norm), "gradient_norm",
					 number(b->gradient_norm)),
			       error);
}

static bool write_against(const struct verdict *verdict, uint32_t index, FILE *json, struct error *error)
{
	const struct against_parameter *of = &verdict->against->parameters[index];
	struct parameter parameter;
	model_parameter(&verdict->pipeline->model, index, &parameter);
	return json_text_write(
		json,
		json_pack("{s:s, s:s, s:b, s:o, s:o, s:I, s:I, s:I, s:o, s:o}", "type", "against", "parameter",
			  parameter.name, "agrees", of->agrees, "relative_difference", number(of->relative),
			  "largest_ulp",
			  of->largest_ulp == UINT64_MAX ? json_null() : json_integer((json_int_t)of->largest_ulp),
			  "elements", (json_int_t)parameter.count, "elements_differ", (json_int_t)of->differ, "element",
			  (json_int_t)of->element, "value", number((double)of->ours), "against_value",
			  number((double)of->theirs)),
		error);
}

// null: no difference.
static json_t *difference_of(const struct verdict *verdict, const struct difference *difference)
{
	char reference_bits[24], bits[24];
	int hex = difference->kind == DIFFERENCE_PARAMETER ? 8 : 16;
	if (difference->kind == DIFFERENCE_NONE)
		return json_null();
	snprintf(reference_bits, sizeof(reference_bits), "0x%0*" PRIx64, hex, difference->reference_bits);
	snprintf(bits, sizeof(bits), "0x%0*" PRIx64, hex, difference->got_bits);
	json_t *object =
		json_pack("{s:s, s:o, s:o, s:s, s:s, s:o}", "kind", difference_name(difference->kind), "reference",
			  number(difference->reference), "value", number(difference->got), "reference_bits",
			  reference_bits, "bits", bits, "ulp",
			  difference->ulp == UINT64_MAX ? json_null() : json_integer((json_int_t)difference->ulp));
	if (object != NULL && difference->kind != DIFFERENCE_PARAMETER)
		json_object_set_new(object, "step", json_integer((json_int_t)difference->step));
	if (object != NULL && (difference->kind == DIFFERENCE_PARAMETER || difference->kind == DIFFERENCE_GRADIENT)) {
		struct parameter parameter;
		model_parameter(&verdict->pipeline->model, difference->parameter, &parameter);
		json_object_set_new(object, "parameter", json_string(parameter.name));
		json_object_set_new(object, "layer", json_integer(parameter.layer));
	}
	if (object != NULL && difference->kind == DIFFERENCE_PARAMETER)
		json_object_set_new(object, "element", json_integer((json_int_t)difference->element));
	return object;
}

static json_t *machines_of(const struct kernel_list *list)
{
	json_t *machines = json_array();
	for (uint32_t r = 0; r < list->rank_count; r++)
		json_array_append_new(machines, json_string(list->machines[r]));
	return machines;
}

static json_t *text(const char *text)
{
	return text != NULL ? json_string(text) : json_null();
}

static json_t *kernels_of(const struct verdict *verdict)
{
	struct kernel_difference differences[KERNELS_WRITTEN];
	uint32_t replicas = verdict->proof->pipeline->options.data_parallel_size;
	uint32_t count = kernels_compare(&verdict->reference->kernels, &verdict->pipeline->kernels, replicas,
					 differences, KERNELS_WRITTEN);
	json_t *kernels = json_array();
	for (uint32_t i = 0; i < count && i < KERNELS_WRITTEN; i++) {
		const struct kernel_difference *d = &differences[i];
		json_array_append_new(kernels,
				      json_pack("{s:i, s:s, s:s, s:o, s:o, s:o, s:o}", "layer", (int)d->layer, "name",
						verdict->pipeline->model.layers[d->layer].name, "question", d->question,
						"reference_kernel", text(d->reference), "kernel", text(d->pipeline),
						"reference_machine", text(d->reference_machine), "machine",
						text(d->pipeline_machine)));
	}
	return kernels;
}

static json_t *verdict_of(const struct verdict *verdict)
{
	const struct comparison *c = verdict->comparison;
	json_t *object =
		json_pack("{s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:i, s:i, s:I, s:I, s:o, s:o}", "type", "verdict",
			  "equal", comparison_is_equal(c), "diverged", c->diverged, "steps", (json_int_t)c->steps,
			  "losses_differ", (json_int_t)c->losses_differ, "gradient_norms_differ",
			  (json_int_t)c->norms_differ, "gradients", (json_int_t)c->gradients, "gradients_differ",
			  (json_int_t)c->gradients_differ, "parameters", (int)c->parameters, "parameters_differ",
			  (int)c->parameters_differ, "elements", (json_int_t)c->elements, "elements_differ",
			  (json_int_t)c->elements_differ, "first_difference", difference_of(verdict, &c->first),
			  "first_parameter_difference", difference_of(verdict, &c->first_value));
	if (object != NULL) {
		json_object_set_new(object, "kernel_differences", kernels_of(verdict));
		json_object_set_new(object, "reference_machines", machines_of(&verdict->reference->kernels));
		json_object_set_new(object, "machines", machines_of(&verdict->pipeline->kernels));
	}
	if (object != NULL && verdict->against != NULL)
		json_object_set_new(object, "agrees", json_boolean(verdict->against->agree == verdict->against->count));
	return object;
}

bool verdict_write(const struct verdict *verdict, FILE *json, struct error *error)
{
	for (uint64_t s = 0; s < verdict->comparison->steps; s++)
		if (!write_step(verdict, s, json, error))
			return false;
	for (uint32_t i = 0; verdict->against != NULL && i < verdict->against->count; i++)
		if (!write_against(verdict, i, json, error))
			return false;
	return json_text_write(json, verdict_of(verdict), error);
}
