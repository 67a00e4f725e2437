// See kernels.h.
#include "coordinator/prove/kernels.h"

#include <stdlib.h>
#include <string.h>

static bool copy_use(uint32_t rank, const struct job_kernel *kernel, struct kernel_use *use)
{
	*use = (struct kernel_use){.layer = kernel->layer,
				   .rank = rank,
				   .question = strdup(kernel->question),
				   .choice = strdup(kernel->choice != NULL ? kernel->choice : "the only one")};
	return use->question != NULL && use->choice != NULL;
}

bool kernels_copy(const struct job_numerics *numerics, uint32_t ranks, struct kernel_list *ret_list,
		  struct error *error)
{
	struct kernel_list list = {.rank_count = ranks};
	uint32_t count = 0;
	for (uint32_t r = 0; r < ranks; r++)
		count += numerics->kernel_counts[r];
	list.machines = calloc((size_t)ranks + 1, sizeof(*list.machines));
	list.uses = calloc((size_t)count + 1, sizeof(*list.uses));
	bool ok = list.machines != NULL && list.uses != NULL;
	for (uint32_t r = 0; r < ranks && ok; r++) {
		list.machines[r] = strdup(numerics->machines[r]);
		ok = list.machines[r] != NULL;
		for (uint32_t i = 0; i < numerics->kernel_counts[r] && ok; i++)
			ok = copy_use(r, &numerics->kernels[r][i], &list.uses[list.count++]);
	}
	if (!ok) {
		kernels_fini(&list);
		return error_set(error, ERROR_FAILED, "out of memory");
	}
	*ret_list = list;
	return true;
}

void kernels_fini(struct kernel_list *list)
{
	for (uint32_t i = 0; i < list->count; i++) {
		free(list->uses[i].question);
		free(list->uses[i].choice);
	}
	for (uint32_t r = 0; r < list->rank_count && list->machines != NULL; r++)
		free(list->machines[r]);
	free(list->uses);
	free(list->machines);
	*list = (struct kernel_list){0};
}

static bool all_are(const struct kernel_list *list, const char *machine)
{
	for (uint32_t r = 0; r < list->rank_count; r++)
		if (strcmp(list->machines[r], machine) != 0)
			return false;
	return true;
}

bool kernels_share_machine(const struct kernel_list *reference, const struct kernel_list *pipeline)
{
	return reference->rank_count == 0 ||
	       (all_are(reference, reference->machines[0]) && all_are(pipeline, reference->machines[0]));
}

// What the ranks of a replica use for the same pass. NULL: they did not ask.
static const struct kernel_use *find(const struct kernel_list *list, const struct kernel_use *like, uint32_t replicas)
{
	for (uint32_t i = 0; i < list->count; i++) {
		const struct kernel_use *use = &list->uses[i];
		if (use->rank % replicas == like->rank % replicas && use->layer == like->layer &&
		    strcmp(use->question, like->question) == 0)
			return use;
	}
	return NULL;
}

struct search {
	const struct kernel_list *reference, *pipeline;
	struct kernel_difference *differences;
	uint32_t size, count;
};

static bool same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

// Replicas differ alike: it is told once.
static bool is_told(const struct search *search, const struct kernel_difference *difference)
{
	for (uint32_t i = 0; i < search->count && i < search->size; i++) {
		const struct kernel_difference *told = &search->differences[i];
		if (told->layer == difference->layer && strcmp(told->question, difference->question) == 0 &&
		    same_text(told->reference, difference->reference) &&
		    same_text(told->pipeline, difference->pipeline) &&
		    same_text(told->reference_machine, difference->reference_machine) &&
		    same_text(told->pipeline_machine, difference->pipeline_machine))
			return true;
	}
	return false;
}

// One of the two may be NULL.
static void compare_uses(struct search *search, const struct kernel_use *reference, const struct kernel_use *pipeline)
{
	const struct kernel_use *any = pipeline != NULL ? pipeline : reference;
	struct kernel_difference difference = {.layer = any->layer, .rank = any->rank, .question = any->question};
	if (reference != NULL) {
		difference.reference = reference->choice;
		difference.reference_machine = search->reference->machines[reference->rank];
	}
	if (pipeline != NULL) {
		difference.pipeline = pipeline->choice;
		difference.pipeline_machine = search->pipeline->machines[pipeline->rank];
	}
	bool same = same_text(difference.reference, difference.pipeline) &&
		    same_text(difference.reference_machine, difference.pipeline_machine);
	if (same || is_told(search, &difference))
		return;
	if (search->count < search->size)
		search->differences[search->count] = difference;
	search->count++;
}

uint32_t kernels_compare(const struct kernel_list *reference, const struct kernel_list *pipeline, uint32_t replicas,
			 struct kernel_difference *ret_differences, uint32_t size)
{
	struct search search = {
		.reference = reference, .pipeline = pipeline, .differences = ret_differences, .size = size};
	for (uint32_t i = 0; i < pipeline->count; i++)
		compare_uses(&search, find(reference, &pipeline->uses[i], replicas), &pipeline->uses[i]);
	for (uint32_t i = 0; i < reference->count; i++)
		if (find(pipeline, &reference->uses[i], replicas) == NULL)
			compare_uses(&search, &reference->uses[i], NULL);
	return search.count;
}
