// See rates.h.
#include "coordinator/view/rates.h"

#include <stdlib.h>
#include <string.h>

// A stage's counters at one moment of its daemon's clock.
struct steps_sample {
	uint64_t counted_ns, samples;
	uint64_t phase_ns[PHASE_COUNT];
};

struct links_sample {
	bool taken;
	uint64_t clock_ns;
	uint64_t sent[RATES_SIDE_COUNT], received[RATES_SIDE_COUNT];
};

// What is kept of a session from round to round. The names may be anything, so a session is told by its numbers.
struct memory {
	uint64_t began_ns;
	uint32_t pipeline_stage, replica;
	uint64_t steps;
	struct steps_sample at_step;
	struct links_sample at_round;
};

struct node {
	struct rates_stage *stages; // [count]
	struct memory *memories;    // [count]
	uint32_t count;
};

struct rates {
	uint32_t count;
	struct node nodes[];
};

struct rates *rates_create(uint32_t nodes)
{
	struct rates *rates = calloc(1, sizeof(*rates) + nodes * sizeof(struct node));
	if (rates != NULL)
		rates->count = nodes;
	return rates;
}

static void forget(struct node *node)
{
	free(node->stages);
	free(node->memories);
	*node = (struct node){0};
}

void rates_destroy(struct rates *rates)
{
	for (uint32_t i = 0; rates != NULL && i < rates->count; i++)
		forget(&rates->nodes[i]);
	free(rates);
}

static const struct memory *find(const struct node *node, const struct running_stage *running)
{
	for (uint32_t i = 0; i < node->count; i++) {
		const struct memory *memory = &node->memories[i];
		if (memory->began_ns == running->began_ns && memory->pipeline_stage == running->pipeline_stage &&
		    memory->replica == running->replica)
			return memory;
	}
	return NULL;
}

static struct steps_sample sample_steps(const struct stage_counters *counters)
{
	struct steps_sample sample = {.counted_ns = counters->counted_ns, .samples = counters->samples};
	memcpy(sample.phase_ns, counters->phase_ns, sizeof(sample.phase_ns));
	return sample;
}

// Per second of the daemon's clock. A counter that fell, or a clock that stood, is somebody's nonsense: nothing.
static double rate(uint64_t after, uint64_t before, uint64_t ns)
{
	return after > before && ns > 0 ? (double)(after - before) / ((double)ns * 1e-9) : 0.0;
}

static void compare_steps(const struct steps_sample *before, const struct steps_sample *after,
			  struct rates_stage *stage)
{
	uint64_t ns = after->counted_ns > before->counted_ns ? after->counted_ns - before->counted_ns : 0;
	for (int i = 0; i < PHASE_COUNT; i++)
		stage->share[i] = rate(after->phase_ns[i], before->phase_ns[i], ns) * 1e-9;
	stage->samples_per_second = rate(after->samples, before->samples, ns);
	stage->known = true;
}

// Before the session's first step. When that began is not said, but what a stage does it also counts.
static struct steps_sample before_first_step(const struct steps_sample *sample)
{
	uint64_t ns = 0;
	for (int i = 0; i < PHASE_COUNT; i++)
		ns += sample->phase_ns[i];
	return (struct steps_sample){.counted_ns = sample->counted_ns > ns ? sample->counted_ns - ns : 0};
}

static void update_steps(const struct stage_counters *counters, const struct memory *before,
			 const struct rates_stage *stage_before, struct memory *memory, struct rates_stage *stage)
{
	struct steps_sample sample = sample_steps(counters);
	bool known = before != NULL && before->steps > 0;
	memory->steps = counters->steps;
	memory->at_step = sample;
	if (counters->steps == 0)
		return;
	if (known && counters->steps == before->steps) { // no step has ended since
		memcpy(stage->share, stage_before->share, sizeof(stage->share));
		stage->samples_per_second = stage_before->samples_per_second;
		stage->known = true;
		return;
	}
	struct steps_sample first = before_first_step(&sample);
	compare_steps(known ? &before->at_step : &first, &sample, stage);
}

static void update_links(const struct stage_counters *counters, uint64_t clock_ns, const struct memory *before,
			 struct memory *memory, struct rates_stage *stage)
{
	const struct link_traffic *traffic[RATES_SIDE_COUNT] = {counters->previous, counters->next,
								counters->previous_replica, counters->next_replica};
	struct links_sample *now = &memory->at_round;
	*now = (struct links_sample){.taken = true, .clock_ns = clock_ns};
	const struct links_sample *last = before != NULL && before->at_round.taken ? &before->at_round : NULL;
	for (int side = 0; side < RATES_SIDE_COUNT; side++) {
		struct rates_link *link = &stage->links[side];
		link->exists = traffic[side] != NULL;
		if (!link->exists)
			continue;
		now->sent[side] = traffic[side]->sent_bytes;
		now->received[side] = traffic[side]->received_bytes;
		if (last == NULL || clock_ns <= last->clock_ns)
			continue;
		link->known = true;
		link->sent = rate(now->sent[side], last->sent[side], clock_ns - last->clock_ns);
		link->received = rate(now->received[side], last->received[side], clock_ns - last->clock_ns);
	}
}

static void update_stage(const struct node_description *answer, const struct running_stage *running,
			 const struct node *last, struct memory *memory, struct rates_stage *stage)
{
	const struct memory *before = find(last, running);
	const struct rates_stage *stage_before = before != NULL ? &last->stages[before - last->memories] : NULL;
	*memory = (struct memory){
		.began_ns = running->began_ns, .pipeline_stage = running->pipeline_stage, .replica = running->replica};
	stage->job = running->job;
	stage->model = running->model;
	stage->pipeline_stage = running->pipeline_stage;
	stage->replica = running->replica;
	stage->step = running->step;
	stage->memory_bytes = running->memory_bytes;
	stage->device = "";
	if (running->device_index < answer->device_count) {
		stage->device = answer->devices[running->device_index].name;
		stage->limit_bytes = answer->devices[running->device_index].memory_limit_bytes;
	}
	if (running->counters == NULL)
		return;
	update_steps(running->counters, before, stage_before, memory, stage);
	update_links(running->counters, answer->clock_ns, before, memory, stage);
	if (answer->clock_ns > running->counters->counted_ns)
		stage->seconds_since_step = (double)(answer->clock_ns - running->counters->counted_ns) * 1e-9;
}

bool rates_update(struct rates *rates, uint32_t index, const char *address, const struct node_description *answer)
{
	struct node *node = &rates->nodes[index], last = *node;
	*node = (struct node){0};
	size_t count = answer == NULL                                 ? 0
		       : answer->running_count > RATES_MAXIMUM_STAGES ? RATES_MAXIMUM_STAGES
								      : answer->running_count;
	if (count > 0) {
		node->stages = calloc(count, sizeof(*node->stages));
		node->memories = calloc(count, sizeof(*node->memories));
	}
	bool ok = count == 0 || (node->stages != NULL && node->memories != NULL);
	for (; ok && node->count < count; node->count++) {
		struct rates_stage *stage = &node->stages[node->count];
		stage->address = address;
		update_stage(answer, &answer->running[node->count], &last, &node->memories[node->count], stage);
	}
	forget(&last);
	return ok;
}

const struct rates_stage *rates_stages(const struct rates *rates, uint32_t index, uint32_t *ret_count)
{
	*ret_count = rates->nodes[index].count;
	return rates->nodes[index].stages;
}

uint32_t rates_nodes(const struct rates *rates)
{
	return rates->count;
}
