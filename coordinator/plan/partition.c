// Where the model is cut. See partition.h.
#include "coordinator/plan/partition.h"

#include <math.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"
#include "common/schedule/schedule.h"

// As DeepSpeed's partition_uniform: equal shares, and what is left over one each to the first stages.
static void cut_uniform(uint32_t layers, uint32_t stages, uint32_t *bounds)
{
	uint32_t share = layers / stages, rest = layers % stages;
	for (uint32_t s = 0; s <= stages; s++)
		bounds[s] = s * share + (s < rest ? s : rest);
}

// Table entry (layers, stages) of the dynamic programmes below: about the first `layers` layers in `stages`
// stages.
struct cell {
	double largest, smallest, cost;
	uint64_t traffic; // elements per sample that cross the boundaries
	uint32_t cut;     // where the last stage begins
};

struct table {
	uint32_t layers, stages;
	struct cell *cells; // [layers + 1][stages + 1]
	double *prefix;     // [layers + 1] sums of weights
	uint64_t *
		needs; // [stages][layers + 1][layers + 1]: bytes of a stage by its first and end layer; NULL: not asked
	uint64_t limit; // of needs
};

static struct cell *cell_at(const struct table *table, uint32_t layers, uint32_t stages)
{
	return &table->cells[layers * (table->stages + 1) + stages];
}

static uint64_t *need_at(const struct table *table, uint32_t stage, uint32_t first, uint32_t end)
{
	return &table->needs[((size_t)stage * (table->layers + 1) + first) * (table->layers + 1) + end];
}

static bool may_be_stage(const struct table *table, uint32_t stage, uint32_t first, uint32_t end)
{
	return table->needs == NULL || *need_at(table, stage, first, end) <= table->limit;
}

static void table_fini(struct table *table)
{
	free(table->cells);
	free(table->prefix);
	free(table->needs);
}

static bool table_init(struct table *table, const uint64_t *weights, uint32_t layers, uint32_t stages,
		       struct error *error)
{
	*table = (struct table){.layers = layers, .stages = stages};
	table->cells = calloc((size_t)(layers + 1) * (stages + 1), sizeof(*table->cells));
	table->prefix = calloc(layers + 1, sizeof(*table->prefix));
	if (table->cells == NULL || table->prefix == NULL) {
		table_fini(table);
		return error_set(error, ERROR_FAILED, "no memory for a partition of %u layers", layers);
	}
	for (uint32_t i = 0; i < layers; i++)
		table->prefix[i + 1] = table->prefix[i] + (double)weights[i];
	for (uint32_t i = 0; i < (layers + 1) * (stages + 1); i++)
		table->cells[i] = (struct cell){.largest = INFINITY, .smallest = INFINITY, .cost = INFINITY};
	*cell_at(table, 0, 0) = (struct cell){.smallest = INFINITY};
	return true;
}

// Reads the cuts off the table, from the last stage to the first, and frees it.
static void table_finish(struct table *table, uint32_t *bounds)
{
	bounds[table->stages] = table->layers;
	for (uint32_t s = table->stages; s > 0; s--)
		bounds[s - 1] = cell_at(table, bounds[s], s)->cut;
	table_fini(table);
}

// DeepSpeed's partition_balanced: the smallest difference between the largest and the smallest stage, by a
// dynamic programme that keeps one best cut for each (layers, stages), the later one where two are equal.
// Keeping one is not exact for this measure; it is what DeepSpeed does, and its cuts are the point. Stages
// are never empty, because each takes at least the layer before the bound.
static bool cut_balanced(const uint64_t *weights, uint32_t layers, uint32_t stages, uint32_t *bounds,
			 struct error *error)
{
	struct table table;
	if (!table_init(&table, weights, layers, stages, error))
		return false;
	for (uint32_t i = 1; i <= layers; i++)
		for (uint32_t s = 1; s <= stages && s <= i; s++)
			for (uint32_t k = s - 1; k < i; k++) {
				const struct cell *before = cell_at(&table, k, s - 1);
				struct cell *cell = cell_at(&table, i, s);
				double last = table.prefix[i] - table.prefix[k];
				double largest = fmax(before->largest, last), smallest = fmin(before->smallest, last);
				if (cell->cost >= largest - smallest)
					*cell = (struct cell){largest, smallest, largest - smallest, 0, k};
			}
	table_finish(&table, bounds);
	return true;
}

// The size of the smallest largest stage: the linear partition problem. Infinite when no cut keeps to the limit.
static double smallest_largest(struct table *table)
{
	for (uint32_t i = 1; i <= table->layers; i++)
		for (uint32_t s = 1; s <= table->stages && s <= i; s++)
			for (uint32_t k = s - 1; k < i; k++) {
				struct cell *cell = cell_at(table, i, s);
				double last = table->prefix[i] - table->prefix[k];
				if (may_be_stage(table, s - 1, k, i))
					cell->largest =
						fmin(cell->largest, fmax(cell_at(table, k, s - 1)->largest, last));
			}
	return cell_at(table, table->layers, table->stages)->largest;
}

// Of the cuts whose largest stage is smallest: the most even one (the smallest sum of squares), and of those
// the one that sends least. Layers without FLOPs make many equally even: this puts a cut behind the pooling,
// not before it. Last, the latest: a ReLU stays with the layer that a device fuses it into. The second pass
// keeps to the first's limit, so that what it minimises is a sum over stages.
static void most_even(struct table *table, const struct model *model, double limit)
{
	for (uint32_t i = 1; i <= table->layers; i++)
		for (uint32_t s = 1; s <= table->stages && s <= i; s++)
			for (uint32_t k = s - 1; k < i; k++) {
				const struct cell *before = cell_at(table, k, s - 1);
				struct cell *cell = cell_at(table, i, s);
				double last = table->prefix[i] - table->prefix[k];
				double cost = before->cost + last * last;
				uint64_t traffic = before->traffic + (k > 0 ? shape_count(model->layers[k].input) : 0);
				if (last <= limit && may_be_stage(table, s - 1, k, i) &&
				    (cost < cell->cost ||
				     (cost == cell->cost && isfinite(cost) && traffic <= cell->traffic))) {
					cell->cost = cost;
					cell->traffic = traffic;
					cell->cut = k;
				}
			}
}

// Fills the needs of every stage that can be part of a cut.
static bool ask_needs(struct table *table, const struct partition_memory *memory, struct error *error)
{
	uint32_t layers = table->layers, stages = table->stages;
	table->needs = calloc((size_t)stages * (layers + 1) * (layers + 1), sizeof(*table->needs));
	if (table->needs == NULL)
		return error_set(error, ERROR_FAILED, "no memory for a partition of %u layers", layers);
	for (uint32_t s = 0; s < stages; s++)
		for (uint32_t first = s; first <= (s > 0 ? layers - 1 : 0); first++)
			for (uint32_t end = s + 1 < stages ? first + 1 : layers; end + (stages - s - 1) <= layers;
			     end++)
				*need_at(table, s, first, end) = memory->bytes(memory->user, s, first, end);
	return true;
}

// The needs of the largest stage where they are smallest. A stage that no cut can have counts nothing, and is in none.
static uint64_t smallest_need(const struct table *table)
{
	uint64_t least[MODEL_MAXIMUM_LAYERS + 1][2]; // of the first i layers in an even and an odd number of stages
	for (uint32_t i = 0; i <= table->layers; i++)
		least[i][0] = i == 0 ? 0 : UINT64_MAX;
	for (uint32_t s = 1; s <= table->stages; s++)
		for (uint32_t i = 0; i <= table->layers; i++) {
			uint64_t best = UINT64_MAX;
			for (uint32_t k = s - 1; k < i; k++) {
				uint64_t before = least[k][(s - 1) % 2], need = *need_at(table, s - 1, k, i);
				uint64_t largest = before > need ? before : need;
				best = largest < best ? largest : best;
			}
			least[i][s % 2] = best;
		}
	return least[table->layers][table->stages % 2];
}

// `by_memory`: within the smallest limit that any cut keeps to.
static bool cut_smallest_largest(const struct model *model, uint32_t stages, const struct partition_memory *memory,
				 bool by_memory, uint32_t *bounds, struct error *error)
{
	struct table table;
	uint64_t weights[MODEL_MAXIMUM_LAYERS];
	for (uint32_t i = 0; i < model->layer_count; i++)
		weights[i] = partition_layer_flops(model, i);
	if (!table_init(&table, weights, model->layer_count, stages, error))
		return false;
	if (by_memory || (memory != NULL && memory->limit_bytes > 0)) {
		if (!ask_needs(&table, memory, error)) {
			table_fini(&table);
			return false;
		}
		table.limit = smallest_need(&table);
		if (!by_memory && memory->limit_bytes > table.limit)
			table.limit = memory->limit_bytes;
	}
	most_even(&table, model, smallest_largest(&table));
	table_finish(&table, bounds);
	return true;
}

uint64_t partition_layer_flops(const struct model *model, uint32_t layer)
{
	uint64_t forward = layer_forward_flops(&model->layers[layer]),
		 backward = layer_backward_flops(&model->layers[layer]);
	return forward + (layer == 0 ? backward / 2 : backward); // nobody wants the gradient of the images
}

// Weight 1 for each layer whose class name matches, as DeepSpeed: anywhere in the name, in either case.
static bool weigh_type(const struct model *model, const char *pattern, uint64_t *weights, struct error *error)
{
	regex_t expression;
	int status = regcomp(&expression, pattern, REG_EXTENDED | REG_ICASE | REG_NOSUB);
	if (status != 0) {
		char why[128];
		regerror(status, &expression, why, sizeof(why));
		return error_set(error, ERROR_USAGE, "partition method \"type:%.80s\": %s", pattern, why);
	}
	bool any = false;
	for (uint32_t i = 0; i < model->layer_count; i++) {
		weights[i] = regexec(&expression, layer_kind_name(model->layers[i].kind), 0, NULL, 0) == 0;
		any |= weights[i] == 1;
	}
	regfree(&expression);
	return any || error_set(error, ERROR_USAGE,
				"partition method \"type:%.80s\" matches no layer; the types are Conv2d, ReLU, "
				"MaxPool2d, AdaptiveAvgPool2d, Flatten, Dropout, Linear",
				pattern);
}

static bool check_stages(const struct model *model, uint32_t stages, struct error *error)
{
	if (stages < 1 || stages > SCHEDULE_MAXIMUM_STAGES)
		return error_set(error, ERROR_USAGE, "pipeline size %u: must be from 1 to %d", stages,
				 SCHEDULE_MAXIMUM_STAGES);
	return stages <= model->layer_count || error_set(error, ERROR_USAGE, "pipeline size %u: %s has only %u layers",
							 stages, model->name, model->layer_count);
}

static bool refuse_method(const char *method, struct error *error)
{
	static const char *const names[] = {"flops", "memory", "uniform", "parameters", "type:REGEX", NULL};
	char hint[STRINGS_GUESS_SIZE];
	return error_set(error, ERROR_USAGE,
			 "unknown partition method \"%.80s\"%s; known: flops, memory, uniform, parameters, type:REGEX",
			 method, strings_guess_of(method, names, hint, sizeof(hint)));
}

bool partition_by_method(const struct model *model, const char *method, uint32_t stages,
			 const struct partition_memory *memory, uint32_t *ret_bounds, struct error *error)
{
	uint64_t weights[MODEL_MAXIMUM_LAYERS] = {0};
	uint32_t layers = model->layer_count;
	if (!check_stages(model, stages, error))
		return false;
	if (strcasecmp(method, "uniform") == 0) {
		cut_uniform(layers, stages, ret_bounds);
		return true;
	}
	if (strcasecmp(method, "flops") == 0)
		return cut_smallest_largest(model, stages, memory, false, ret_bounds, error);
	if (strcasecmp(method, "memory") == 0 && memory != NULL)
		return cut_smallest_largest(model, stages, memory, true, ret_bounds, error);
	if (strcasecmp(method, "parameters") == 0) {
		for (uint32_t i = 0; i < layers; i++)
			weights[i] = layer_parameter_count(&model->layers[i]);
	} else if (strncasecmp(method, "type:", 5) == 0) {
		if (!weigh_type(model, method + 5, weights, error))
			return false;
	} else {
		return refuse_method(method, error);
	}
	if (layers == stages) // DeepSpeed's shortcut
		cut_uniform(layers, stages, ret_bounds);
	else if (!cut_balanced(weights, layers, stages, ret_bounds, error))
		return false;
	return true;
}

bool partition_explicit(const struct model *model, const char *split, uint32_t stages, uint32_t *ret_bounds,
			struct error *error)
{
	uint32_t bounds[SCHEDULE_MAXIMUM_STAGES + 1] = {0};
	uint32_t count = 0;
	if (!check_stages(model, stages, error))
		return false;
	_cleanup_free_ char *copy = strdup(split);
	if (copy == NULL)
		return error_set(error, ERROR_FAILED, "no memory for a partition");
	char *rest = copy;
	for (char *word = *split != '\0' ? strsep(&rest, ",") : NULL; word != NULL; word = strsep(&rest, ",")) {
		int64_t layer;
		struct error why;
		if (!strings_parse_integer(word, 1, model->layer_count - 1, &layer, &why))
			return error_set(error, ERROR_USAGE, "--split %.80s: %s", split, why.message);
		if (++count >= stages || layer <= bounds[count - 1])
			return error_set(error, ERROR_USAGE,
					 "--split %.80s: write the first layer of each stage after the first, %u for "
					 "pipeline size %u, in ascending order",
					 split, stages - 1, stages);
		bounds[count] = (uint32_t)layer;
	}
	if (count + 1 != stages)
		return error_set(error, ERROR_USAGE, "--split %.80s: names %u stage%s, the pipeline size is %u", split,
				 count + 1, strings_plural(count + 1), stages);
	bounds[stages] = model->layer_count;
	memcpy(ret_bounds, bounds, (stages + 1) * sizeof(*bounds));
	return true;
}
