// Trains drawn networks in drawn pipelines over real daemons, and each on one device as well: losses, gradient norms and final
// parameters must be the same to the bit. draw.c says what is drawn. Both trainings run with the same number of threads, which is part of
// the draw unless --threads gives it. The kernels are drawn, too: of those that the daemons offer for a question any may be the fastest,
// so a pipeline must be right with any.
//
//   same_training [--draws N] [--seed S] [--threads N] [--wrong-kernels]
//
// Draw number i is that of seed S + i: `--seed S+i --draws 1` repeats it alone. $SEED stands for --seed. With --wrong-kernels the
// pipeline's kernels are drawn apart from those of the one device, so that its bits differ: the program must see it.
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
#include "coordinator/numerics/numerics.h"
#include "coordinator/prove/reference.h"
#include "coordinator/prove/verdict.h"
#include "tests/property/draw.h"

enum { DAEMONS = 4, IMAGES = 512, RECORD_BYTES = 3073, CLASSES = 10, FREE_TIMEOUT_MS = 10000, NETWORK_THREADS = 2 };

struct property {
	uint64_t seed;
	uint32_t draws;
	uint32_t threads;                 // of all draws; 0: drawn
	struct local_daemons *daemons[2]; // of draws with one thread (or N of --threads), and with two
	struct dataset *dataset;
	bool wrong_kernels;
	struct numerics *honest;  // with the kernels that there are for every question so far
	uint64_t steps, elements; // compared so far
	uint32_t two_threads;     // draws with two threads
	uint64_t drawn, slower;   // answers about kernels, and those that are not the fastest
};

// Noise in the form of CIFAR-10: nothing is to be learnt from it.
static bool write_noise(const char *path)
{
	struct random_key key = random_key_make(1, RANDOM_DATASET, 0);
	FILE *file = fopen(path, "wb");
	if (file == NULL)
		return false;
	for (uint64_t i = 0; i < (uint64_t)IMAGES * RECORD_BYTES; i++)
		fputc((int)random_below(key, i, i % RECORD_BYTES == 0 ? CLASSES : 256), file);
	return fclose(file) == 0;
}

static bool make_dataset(struct dataset **ret_dataset, struct error *error)
{
	char folder[] = "/tmp/penstock-test-XXXXXX", path[64];
	if (mkdtemp(folder) == NULL)
		return error_set(error, ERROR_FAILED, "no folder for the dataset");
	snprintf(path, sizeof(path), "%s/data_batch_1.bin", folder);
	bool ok = write_noise(path) || error_set(error, ERROR_FAILED, "the dataset cannot be written");
	ok = ok && dataset_open(folder, 0, ret_dataset, error);
	unlink(path);
	rmdir(folder);
	return ok;
}

// ---- One draw

struct place {
	const char *addresses[DRAW_MAXIMUM_RANKS];
	uint32_t devices[DRAW_MAXIMUM_RANKS];
};

static void place_ranks(const struct property *property, const struct draw *draw, struct place *place)
{
	for (uint32_t r = 0; r < DRAW_MAXIMUM_RANKS; r++) {
		place->addresses[r] = local_daemons_address(property->daemons[draw->two_threads], draw->daemon_of[r]);
		place->devices[r] = 0;
	}
}

static bool train(struct property *property, const struct draw *draw, const struct plan *plan,
		  const struct place *place, struct numerics *numerics, struct capture *capture, struct error *error)
{
	struct sampler *sampler;
	char name[64];
	snprintf(name, sizeof(name), "draw-%" PRIu64 "-p%u", draw->seed, plan->options.pipeline_size);
	if (!sampler_create(dataset_count(property->dataset), draw->config.train_batch_size, draw->shuffle, draw->seed,
			    &sampler, error))
		return false;
	struct job_options options = {.name = name,
				      .plan = plan,
				      .addresses = place->addresses,
				      .devices = place->devices,
				      .config = &draw->config,
				      .dataset = property->dataset,
				      .sampler = sampler,
				      .steps = capture->step_count,
				      .numerics = numerics,
				      .connections = draw->connections,
				      .chunk_bytes = draw->chunk_bytes};
	bool ok = capture_run(capture, &options, NULL, error);
	describe_until_free(place->addresses, plan_rank_count(plan), NULL, name, FREE_TIMEOUT_MS);
	sampler_destroy(sampler);
	return ok;
}

// ---- Kernels

static uint32_t draw_usable(const struct numerics_answer *answer, uint64_t seed)
{
	struct random_key key = random_key_make(seed, RANDOM_DATASET, random_hash_name(answer->question));
	uint32_t usable[NUMERICS_MAXIMUM_CANDIDATES], count = 0;
	for (uint32_t i = 0; i < answer->count; i++)
		if (answer->ns[i] != NUMERICS_UNUSABLE)
			usable[count++] = i;
	return count > 0 ? usable[random_below(key, 0, count)] : answer->choice;
}

// Answers each question of the training that `asked` was by any kernel that can be used.
static bool draw_answers(struct property *property, const struct capture *asked, uint64_t seed,
			 struct numerics **ret_numerics, struct error *error)
{
	struct numerics *numerics = numerics_create();
	if (numerics == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	for (uint32_t i = 0; i < asked->kernels.count; i++) {
		const struct kernel_use *use = &asked->kernels.uses[i];
		const char *machine = asked->kernels.machines[use->rank];
		const struct numerics_answer *honest = numerics_find(property->honest, machine, use->question), *kept;
		if (honest == NULL || numerics_find(numerics, machine, use->question) != NULL)
			continue; // there is one kernel alone; or another layer has asked
		struct numerics_answer drawn = *honest;
		drawn.choice = draw_usable(honest, seed);
		property->drawn++;
		property->slower += drawn.choice != honest->choice;
		if (!numerics_add(numerics, &drawn, NULL, &kept, error)) {
			numerics_close(numerics);
			return false;
		}
	}
	*ret_numerics = numerics;
	return true;
}

// Opens the reference and trains nothing, to learn what is asked; then draws the answers of both trainings.
static bool draw_kernels(struct property *property, const struct draw *draw, const struct plan *reference,
			 const struct place *place, struct numerics *ret_numerics[2], struct error *error)
{
	struct capture *asked = NULL;
	bool ok = capture_create(&draw->model, 0, &asked, error) &&
		  train(property, draw, reference, place, property->honest, asked, error);
	for (int i = 0; i < 2 && ok; i++) // the same answers twice, unless they are to be wrong
		ok = draw_answers(property, asked, draw->seed + (property->wrong_kernels ? i * UINT64_C(1000003) : 0),
				  &ret_numerics[i], error);
	capture_destroy(asked);
	return ok;
}

// ---- The judgement

// The plan of a drawn pipeline. Where the schedule cannot do with so few in flight, as many as it takes.
static bool make_plan(struct draw *draw, struct plan **ret_plan, struct error *error)
{
	if (plan_create(&draw->model, &draw->options, ret_plan, error))
		return true;
	draw->options.in_flight = 0;
	return plan_create(&draw->model, &draw->options, ret_plan, error);
}

// Every pass of every layer asks the same question and is answered alike, wherever the network is cut.
static bool same_kernels(const struct verdict *verdict)
{
	struct kernel_difference difference;
	uint32_t replicas = verdict->proof->pipeline->options.data_parallel_size;
	if (kernels_compare(&verdict->reference->kernels, &verdict->pipeline->kernels, replicas, &difference, 1) == 0)
		return true;
	printf("layer %u: %s: %s, and %s in the pipeline\n", difference.layer, difference.question,
	       difference.reference != NULL ? difference.reference : "not asked",
	       difference.pipeline != NULL ? difference.pipeline : "not asked");
	return false;
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
	if (!property->wrong_kernels && !same_kernels(verdict))
		return false;
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
	struct numerics *numerics[2] = {NULL, NULL};
	struct place place;
	struct error error = {0};
	place_ranks(property, draw, &place);
	bool ran = make_plan(draw, &pipeline, &error) && reference_plan(pipeline, &reference, &error) &&
		   capture_create(&draw->model, draw->steps, &a, &error) &&
		   capture_create(&draw->model, draw->steps, &b, &error) &&
		   draw_kernels(property, draw, reference, &place, numerics, &error) &&
		   train(property, draw, reference, &place, numerics[0], a, &error) &&
		   train(property, draw, pipeline, &place, numerics[1], b, &error);
	bool ok = false;
	if (ran) {
		struct proof proof = {.reference = reference,
				      .pipeline = pipeline,
				      .addresses = place.addresses,
				      .steps = draw->steps};
		struct verdict verdict = {.proof = &proof, .reference = a, .pipeline = b};
		ok = judge(property, draw, &verdict, b);
	} else {
		printf("failed: %s\n", error.message);
	}
	numerics_close(numerics[0]);
	numerics_close(numerics[1]);
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
		draw.two_threads = draw.two_threads && property->threads == 0;
		property->two_threads += draw.two_threads;
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
						{"wrong-kernels", no_argument, NULL, 'w'},
						{0}};
	const char *seed = getenv("SEED");
	uint64_t number;
	int option;
	bool ok = seed == NULL || read_number(seed, INT64_MAX, &property->seed);
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1 && ok) {
		ok = option == 'w' ||
		     (option != '?' && read_number(optarg, option == 's' ? INT64_MAX : 1000000, &number));
		if (option == 'w')
			property->wrong_kernels = true;
		else if (option == 'd')
			property->draws = (uint32_t)number;
		else if (option == 's')
			property->seed = number;
		else if (option == 't')
			property->threads = (uint32_t)number;
	}
	if (!ok || optind < argc)
		fprintf(stderr, "usage: %s [--draws N] [--seed S] [--threads N] [--wrong-kernels]\n", argv[0]);
	return ok && optind == argc;
}

static bool start_daemons(struct property *property, struct error *error)
{
	struct local_options one = {.count = DAEMONS, .threads = property->threads > 0 ? property->threads : 1};
	struct local_options two = {.count = DAEMONS, .threads = 2};
	if (!local_daemons_start(&one, &property->daemons[0], error))
		return false;
	return property->threads > 0 || local_daemons_start(&two, &property->daemons[1], error);
}

int main(int argc, char **argv)
{
	struct property property = {.seed = 1, .draws = 200};
	struct error error;
	if (!read_arguments(argc, argv, &property))
		return 2;
	property.honest = numerics_create();
	if (property.honest == NULL || !make_dataset(&property.dataset, &error) || !start_daemons(&property, &error) ||
	    !rpc_start(NETWORK_THREADS, &error)) {
		fprintf(stderr, "cannot begin: %s\n", error.message);
		return 1;
	}
	uint64_t begin_ns = clock_now_ns();
	uint32_t wrong = try_all(&property);
	printf("%" PRIu64 " kernels drawn, %" PRIu64 " of them not the fastest\n", property.drawn, property.slower);
	printf("%u draws from seed %" PRIu64 ": %" PRIu64 " steps and %" PRIu64
	       " final values compared, %u draws with two threads, %u draws wrong, %.1f s\n",
	       property.draws, property.seed, property.steps, property.elements, property.two_threads, wrong,
	       (double)(clock_now_ns() - begin_ns) * 1e-9);
	fflush(stdout);
	rpc_stop();
	local_daemons_stop(property.daemons[0]);
	local_daemons_stop(property.daemons[1]);
	dataset_close(property.dataset);
	numerics_close(property.honest);
	return wrong > 0;
}
