// Trains drawn networks in drawn pipelines over real daemons, and each on one device as well: losses, gradient norms and final
// parameters must be the same to the bit. draw.c says what is drawn.
//
//   same_training [--draws N] [--seed S] [--threads N]
//
// Draw number i is that of seed S + i: `--seed S+i --draws 1` repeats it alone. $SEED stands for --seed.
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/rpc/rpc.h"
#include "coordinator/daemons/describe.h"
#include "coordinator/daemons/local.h"
#include "coordinator/prove/reference.h"
#include "coordinator/prove/verdict.h"
#include "tests/property/draw.h"

enum { DAEMONS = 4, IMAGES = 512, FREE_TIMEOUT_MS = 10000, NETWORK_THREADS = 2 };

struct property {
	uint64_t seed;
	uint32_t draws, threads;
	struct local_daemons *daemons;
	struct cifar10 dataset;
	uint64_t steps, elements; // compared so far
};

// Noise: nothing is to be learnt from it.
static bool make_dataset(struct cifar10 *ret_dataset)
{
	struct random_key key = random_key_make(1, RANDOM_DATASET, 0);
	uint8_t *records = malloc((size_t)IMAGES * CIFAR10_RECORD_BYTES);
	if (records == NULL)
		return false;
	for (uint64_t i = 0; i < (uint64_t)IMAGES * CIFAR10_RECORD_BYTES; i++)
		records[i] = (uint8_t)random_below(key, i, i % CIFAR10_RECORD_BYTES == 0 ? CIFAR10_CLASSES : 256);
	*ret_dataset = (struct cifar10){.records = records, .count = IMAGES};
	return true;
}

// ---- One draw

struct place {
	const char *addresses[DRAW_MAXIMUM_RANKS], *machines[DRAW_MAXIMUM_RANKS];
	uint32_t devices[DRAW_MAXIMUM_RANKS];
};

static void place_ranks(const struct property *property, const struct draw *draw, struct place *place)
{
	for (uint32_t r = 0; r < DRAW_MAXIMUM_RANKS; r++) {
		place->addresses[r] = local_daemons_address(property->daemons, draw->daemon_of[r]);
		place->machines[r] = "cpu";
		place->devices[r] = 0;
	}
}

static bool train(struct property *property, const struct draw *draw, const struct plan *plan,
		  const struct place *place, struct capture *capture, struct error *error)
{
	struct sampler *sampler;
	char name[64];
	snprintf(name, sizeof(name), "draw-%" PRIu64 "-p%u", draw->seed, plan->options.pipeline_size);
	if (!sampler_create(property->dataset.count, draw->config.train_batch_size, draw->shuffle, draw->seed, &sampler,
			    error))
		return false;
	struct job_options options = {.name = name,
				      .plan = plan,
				      .addresses = place->addresses,
				      .devices = place->devices,
				      .config = &draw->config,
				      .dataset = &property->dataset,
				      .sampler = sampler,
				      .steps = draw->steps,
				      .connections = draw->connections,
				      .chunk_bytes = draw->chunk_bytes};
	bool ok = capture_run(capture, &options, NULL, error);
	describe_until_free(place->addresses, plan_rank_count(plan), NULL, name, FREE_TIMEOUT_MS);
	sampler_destroy(sampler);
	return ok;
}

// The plan of a drawn pipeline. Where the schedule cannot do with so few in flight, as many as it takes.
static bool make_plan(struct draw *draw, struct plan **ret_plan, struct error *error)
{
	if (plan_create(&draw->model, &draw->options, ret_plan, error))
		return true;
	draw->options.in_flight = 0;
	return plan_create(&draw->model, &draw->options, ret_plan, error);
}

// A comparison that sees nothing would pass every draw: one bit of what was compared, turned around, must be seen.
static bool sees_one_bit(const struct property *property, const struct draw *draw, const struct capture *reference,
			 struct capture *pipeline)
{
	struct random_key key = random_key_make(draw->seed, RANDOM_DATASET, 1);
	uint32_t parameter = random_below(key, 0, pipeline->parameter_count);
	uint64_t floats = pipeline->received_bytes[parameter] / sizeof(float);
	uint64_t element = random_below(key, 1, (uint32_t)floats);
	uint32_t bit = random_below(key, 2, 32), bits;
	memcpy(&bits, &pipeline->values[parameter][element], sizeof(bits));
	bits ^= UINT32_C(1) << bit;
	memcpy(&pipeline->values[parameter][element], &bits, sizeof(bits));
	struct comparison comparison;
	compare_captures(reference, pipeline, &comparison);
	return comparison.elements_differ == 1 && comparison.first.parameter == parameter &&
	       comparison.first.element == element;
}

// Says what is wrong; false with a message printed.
static bool judge(struct property *property, const struct draw *draw, const struct verdict *verdict,
		  struct capture *pipeline)
{
	struct comparison comparison;
	struct verdict shown = *verdict;
	compare_captures(verdict->reference, verdict->pipeline, &comparison);
	property->steps += comparison.steps;
	property->elements += comparison.elements;
	if (!comparison_is_equal(&comparison)) {
		shown.comparison = &comparison;
		verdict_print_proof(shown.proof, stdout);
		verdict_print(&shown, stdout);
		return false;
	}
	if (!sees_one_bit(property, draw, verdict->reference, pipeline)) {
		printf("a bit that was turned around was not seen\n");
		return false;
	}
	return true;
}

static bool try_draw(struct property *property, struct draw *draw)
{
	struct plan *pipeline = NULL, *reference = NULL;
	struct capture *a = NULL, *b = NULL;
	struct place place;
	struct error error = {0};
	place_ranks(property, draw, &place);
	bool ran = make_plan(draw, &pipeline, &error) && reference_plan(pipeline, &reference, &error) &&
		   capture_create(&draw->model, draw->steps, &a, &error) &&
		   capture_create(&draw->model, draw->steps, &b, &error) &&
		   train(property, draw, reference, &place, a, &error) &&
		   train(property, draw, pipeline, &place, b, &error);
	bool ok = false;
	if (ran) {
		struct proof proof = {.reference = reference,
				      .pipeline = pipeline,
				      .addresses = place.addresses,
				      .machines = place.machines,
				      .steps = draw->steps};
		struct verdict verdict = {.proof = &proof, .reference = a, .pipeline = b};
		ok = judge(property, draw, &verdict, b);
	} else {
		printf("failed: %s\n", error.message);
	}
	capture_destroy(a);
	capture_destroy(b);
	plan_destroy(pipeline);
	plan_destroy(reference);
	return ok;
}

// ---- All of them

static uint32_t try_all(struct property *property)
{
	uint32_t wrong = 0;
	struct draw draw;
	char text[DRAW_TEXT_SIZE];
	for (uint32_t i = 0; i < property->draws; i++) {
		draw_make(property->seed + i, DAEMONS, &draw);
		bool ok = try_draw(property, &draw);
		if (!ok || property->draws == 1)
			printf("%s: --threads %u --seed %" PRIu64 " --draws 1: %s\n", ok ? "equal" : "WRONG",
			       property->threads, draw.seed, draw_text(&draw, text));
		fflush(stdout);
		wrong += !ok;
	}
	return wrong;
}

static bool read_number(const char *text, uint64_t most, uint64_t *ret_number)
{
	char *end;
	*ret_number = strtoull(text, &end, 10);
	return *text != '\0' && *end == '\0' && *ret_number <= most;
}

static bool read_arguments(int argc, char **argv, struct property *property)
{
	static const struct option options[] = {{"draws", required_argument, NULL, 'd'},
						{"seed", required_argument, NULL, 's'},
						{"threads", required_argument, NULL, 't'},
						{0}};
	const char *seed = getenv("SEED");
	uint64_t number;
	int option;
	bool ok = seed == NULL || read_number(seed, INT64_MAX, &property->seed);
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1 && ok) {
		ok = option != '?' && read_number(optarg, option == 's' ? INT64_MAX : 1000000, &number);
		if (option == 'd')
			property->draws = (uint32_t)number;
		else if (option == 's')
			property->seed = number;
		else if (option == 't')
			property->threads = (uint32_t)number;
	}
	if (!ok || optind < argc)
		fprintf(stderr, "usage: %s [--draws N] [--seed S] [--threads N]\n", argv[0]);
	return ok && optind == argc;
}

int main(int argc, char **argv)
{
	struct property property = {.seed = 1, .draws = 200, .threads = 1};
	struct error error;
	if (!read_arguments(argc, argv, &property))
		return 2;
	struct local_options local = {.count = DAEMONS, .threads = property.threads};
	if (!make_dataset(&property.dataset) || !local_daemons_start(&local, &property.daemons, &error) ||
	    !rpc_start(NETWORK_THREADS, &error)) {
		fprintf(stderr, "cannot begin: %s\n", error.message);
		return 1;
	}
	uint64_t begin_ns = clock_now_ns();
	uint32_t wrong = try_all(&property);
	printf("%u draws from seed %" PRIu64 ": %" PRIu64 " steps and %" PRIu64
	       " final values compared, %u draws wrong, %.1f s\n",
	       property.draws, property.seed, property.steps, property.elements, wrong,
	       (double)(clock_now_ns() - begin_ns) * 1e-9);
	fflush(stdout);
	rpc_stop();
	local_daemons_stop(property.daemons);
	cifar10_fini(&property.dataset);
	return wrong > 0;
}
