// ds_config.json: the file, its top level and the rule of the three batch sizes. See deepspeed_config.h.
//
// DeepSpeed reads Hjson, a laxer JSON with comments; here it is JSON, which every DeepSpeed configuration in
// its documentation is. Defaults are those of DeepSpeed 0.19; docs/deepspeed_config.md lists them and the
// differences.
#include "coordinator/config/deepspeed_config.h"

#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <inttypes.h>
#include <jansson.h>
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

// Reads at most one byte more than is allowed, to tell a file that is too large.
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
	int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // not to wait, should this be a pipe
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

static json_t *parse_file(const char *path, struct error *error)
{
	size_t size = 0;
	_cleanup_free_ char *text = read_file(path, &size, error);
	if (text == NULL)
		return NULL;
	if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		error_set(error, ERROR_USAGE, "%s: begins with a byte-order mark: save it as UTF-8 without one", path);
		return NULL;
	}
	json_error_t at;
	json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &at);
	if (root == NULL) {
		strings_make_printable(at.text); // it quotes the file
		error_set(error, ERROR_USAGE, "%s:%d:%d: %s", path, at.line, at.column, at.text);
		return NULL;
	}
	if (json_is_object(root))
		return root;
	json_decref(root);
	error_set(error, ERROR_USAGE, "%s: expected an object, { ... }, at the top level", path);
	return NULL;
}

static bool read_top_level(struct json_keys *top, struct deepspeed_config *config, struct error *error)
{
	double learning_rate = 1e-3;
	if (!json_keys_count(top, "train_batch_size", 1, MAXIMUM_BATCH, &config->train_batch_size, error) ||
	    !json_keys_count(top, "train_micro_batch_size_per_gpu", 1, MAXIMUM_BATCH, &config->micro_batch_size,
			     error) ||
	    !json_keys_count(top, "gradient_accumulation_steps", 1, MAXIMUM_BATCH, &config->gradient_accumulation_steps,
			     error) ||
	    !json_keys_number(top, "gradient_clipping", 0, FLT_MAX, &config->gradient_clipping, error) ||
	    !json_keys_count(top, "steps_per_print", 1, MAXIMUM_STEPS, &config->steps_per_print, error) ||
	    !json_keys_boolean(top, "wall_clock_breakdown", &config->wall_clock_breakdown, error) ||
	    !deepspeed_optimizer_read(top, config, &learning_rate, error) ||
	    !deepspeed_scheduler_read(top, learning_rate, config, error) ||
	    !deepspeed_precision_read(top, config, error) || !deepspeed_pipeline_read(top, config, error))
		return false;
	json_keys_list_unknown(top, config->unknown_keys, sizeof(config->unknown_keys));
	return true;
}

bool deepspeed_config_read(const char *path, const struct deepspeed_overrides *overrides,
			   struct deepspeed_config *ret_config, struct error *error)
{
	struct deepspeed_overrides none;
	deepspeed_overrides_init(&none);
	if (overrides == NULL)
		overrides = &none;
	json_t *root = path != NULL ? parse_file(path, error) : deepspeed_overrides_base(overrides);
	if (root == NULL)
		return path != NULL ? false : error_set(error, ERROR_FAILED, "no memory for the configuration");
	struct deepspeed_config config = {
		.optimizer = {.kind = OPTIMIZER_SGD},
		.learning_rate = 1e-3f,
		.schedule = {.kind = LEARNING_RATE_CONSTANT},
		.gradient_clipping = 1.0,
		.steps_per_print = 10,
		.compute_type = DATA_FLOAT32,
	};
	struct json_keys top = {0};
	bool ok = deepspeed_overrides_apply(overrides, root, error) &&
		  json_keys_init(&top, path != NULL ? path : "command line", "", root, error) &&
		  read_top_level(&top, &config, error);
	json_keys_fini(&top);
	json_decref(root);
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
				 "; the most is %d samples",
				 micro, accumulation, replicas, MAXIMUM_BATCH);
	config->train_batch_size = (uint32_t)train;
	config->micro_batch_size = (uint32_t)micro;
	config->gradient_accumulation_steps = (uint32_t)accumulation;
	return true;
}
