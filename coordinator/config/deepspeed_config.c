// ds_config.json: the file, its top level and the rule of the three batch sizes. See deepspeed_config.h.
//
// The file is Hjson, as DeepSpeed reads it. Defaults are those of DeepSpeed 0.19; docs/deepspeed_config.md lists them and the
// differences.
#include "coordinator/config/deepspeed_config.h"

#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/strings.h"
#include "coordinator/config/deepspeed_sections.h"

enum {
	MAXIMUM_FILE_BYTES = 1 << 20,
	MAXIMUM_BATCH = 1 << 24, // samples, and micro-batches, of one step
	MAXIMUM_STEPS = 1000000000,
};

// Reads at most one byte more than the limit, to recognise a file that is too large.
static bool read_descriptor(int descriptor, char *into, size_t *ret_size, struct error *error)
{
	struct stat status;
	if (fstat(descriptor, &status) < 0 || !S_ISREG(status.st_mode))
		return error_set(error, ERROR_USAGE, "is not a regular file");
	size_t size = 0;
	while (size <= MAXIMUM_FILE_BYTES) {
		ssize_t got = read(descriptor, into + size, MAXIMUM_FILE_BYTES + 1 - size);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set(error, ERROR_FAILED, "read: %s", strerror(errno));
		if (got == 0)
			break;
		size += (size_t)got;
	}
	if (size > MAXIMUM_FILE_BYTES)
		return error_set(error, ERROR_USAGE, "is larger than %d bytes", MAXIMUM_FILE_BYTES);
	*ret_size = size;
	return true;
}

// Returns owned text, `*ret_size` bytes, not terminated.
static char *read_file(const char *path, size_t *ret_size, struct error *error)
{
	_cleanup_free_ char *text = malloc(MAXIMUM_FILE_BYTES + 1);
	if (text == NULL) {
		error_set(error, ERROR_FAILED, "%s: no memory", path);
		return NULL;
	}
	int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // does not wait if the path is a pipe
	if (descriptor < 0) {
		error_set(error, ERROR_USAGE, "%s: %s", path, strerror(errno));
		return NULL;
	}
	bool ok = read_descriptor(descriptor, text, ret_size, error);
	close(descriptor);
	if (!ok) {
		error_wrap(error, "%s", path);
		return NULL;
	}
	return steal_pointer(text);
}

// `*ret_document` is owned. False with `error`, or with `mistakes`.
static bool parse_file(const char *path, struct mistakes *mistakes, struct hjson **ret_document, struct error *error)
{
	size_t size = 0;
	_cleanup_free_ char *text = read_file(path, &size, error);
	if (text == NULL)
		return false;
	return hjson_parse(text, size, mistakes, ret_document) || mistakes_report(mistakes, path, error);
}

static void read_top_level(struct json_keys *top, struct deepspeed_config *config)
{
	double learning_rate = 1e-3;
	json_keys_count(top, "train_batch_size", 1, MAXIMUM_BATCH, &config->train_batch_size);
	json_keys_count(top, "train_micro_batch_size_per_gpu", 1, MAXIMUM_BATCH, &config->micro_batch_size);
	json_keys_count(top, "gradient_accumulation_steps", 1, MAXIMUM_BATCH, &config->gradient_accumulation_steps);
	json_keys_number(top, "gradient_clipping", 0, FLT_MAX, &config->gradient_clipping);
	json_keys_count(top, "steps_per_print", 1, MAXIMUM_STEPS, &config->steps_per_print);
	json_keys_boolean(top, "wall_clock_breakdown", &config->wall_clock_breakdown);
	deepspeed_optimizer_read(top, config, &learning_rate);
	deepspeed_scheduler_read(top, learning_rate, config);
	deepspeed_precision_read(top, config);
	deepspeed_pipeline_read(top, config);
	json_keys_list_unknown(top, config->unknown_keys, sizeof(config->unknown_keys));
}

// `document` is NULL without a file.
static void read_values(const struct hjson *document, const json_t *root, struct mistakes *mistakes,
			struct deepspeed_config *ret_config)
{
	struct json_keys top;
	*ret_config = (struct deepspeed_config){
		.optimizer = {.kind = OPTIMIZER_SGD, .no_momentum = true},
		.learning_rate = 1e-3f,
		.schedule = {.kind = LEARNING_RATE_CONSTANT},
		.gradient_clipping = 1.0,
		.steps_per_print = 10,
		.compute_type = DATA_FLOAT32,
	};
	json_keys_init(&top, document, root, mistakes);
	read_top_level(&top, ret_config);
	json_keys_fini(&top);
}

bool deepspeed_config_read(const char *path, const struct deepspeed_overrides *overrides,
			   struct deepspeed_config *ret_config, struct error *error)
{
	struct deepspeed_overrides none;
	struct deepspeed_config config;
	struct hjson *document = NULL;
	struct mistakes mistakes = {0};
	deepspeed_overrides_init(&none);
	if (overrides == NULL)
		overrides = &none;
	bool ok = path == NULL || parse_file(path, &mistakes, &document, error);
	json_t *root = NULL;
	if (ok)
		root = path != NULL ? json_incref(hjson_root(document)) : deepspeed_overrides_base(overrides);
	if (ok && root == NULL)
		ok = error_set(error, ERROR_FAILED, "no memory for the configuration");
	ok = ok && deepspeed_overrides_apply(overrides, root, error);
	if (ok) {
		read_values(document, root, &mistakes, &config);
		ok = mistakes_report(&mistakes, path != NULL ? path : "command line", error);
	}
	json_decref(root);
	hjson_destroy(document);
	mistakes_fini(&mistakes);
	if (ok)
		*ret_config = config;
	return ok;
}

bool deepspeed_config_resolve_batch(struct deepspeed_config *config, uint32_t data_parallel_size, struct error *error)
{
	uint64_t train = config->train_batch_size, micro = config->micro_batch_size;
	uint64_t accumulation = config->gradient_accumulation_steps, replicas = data_parallel_size;
	if (replicas == 0)
		return error_set(error, ERROR_USAGE, "the data-parallel size is 0");
	if (train == 0 && micro == 0)
		return error_set(error, ERROR_USAGE,
				 "the batch size is missing: give train_batch_size or "
				 "train_micro_batch_size_per_gpu in the configuration, or --train-batch-size or "
				 "--micro-batch-size");
	if (accumulation == 0)
		accumulation = train != 0 && micro != 0 ? train / micro / replicas : 1;
	if (micro == 0)
		micro = train / replicas / accumulation;
	uint64_t product;
	if (__builtin_mul_overflow(micro * accumulation, replicas, &product))
		product = UINT64_MAX;
	if (train == 0)
		train = product;
	if (product == 0 || train != product)
		return error_set(error, ERROR_USAGE,
				 "the batch sizes do not agree: train_batch_size %" PRIu64
				 " is not train_micro_batch_size_per_gpu %" PRIu64
				 " x gradient_accumulation_steps %" PRIu64 " x data-parallel size %" PRIu64,
				 train, micro, accumulation, replicas);
	if (train > MAXIMUM_BATCH)
		return error_set(error, ERROR_USAGE,
				 "the batch is too large: train_micro_batch_size_per_gpu %" PRIu64
				 " x gradient_accumulation_steps %" PRIu64 " x data-parallel size %" PRIu64
				 "; the maximum is %d samples",
				 micro, accumulation, replicas, MAXIMUM_BATCH);
	config->train_batch_size = (uint32_t)train;
	config->micro_batch_size = (uint32_t)micro;
	config->gradient_accumulation_steps = (uint32_t)accumulation;
	return true;
}
