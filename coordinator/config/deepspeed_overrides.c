// The command line over ds_config.json: an option is put into the place of its key before anything is read, so that
// the option means what the key means, and whatever follows from the key follows from the option.
#include <math.h>
#include <strings.h>

#include "coordinator/config/deepspeed_sections.h"

// Without a file or a word about it.
enum { DEFAULT_MICRO_BATCH_SIZE = 32, DEFAULT_MICRO_BATCHES = 4 };

void deepspeed_overrides_init(struct deepspeed_overrides *ret_overrides)
{
	*ret_overrides = (struct deepspeed_overrides){
		.learning_rate = NAN, .momentum = NAN, .weight_decay = NAN, .checkpoint_interval = -1};
}

static bool has(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);
	return value != NULL && !json_is_null(value);
}

// Takes `value`. False when memory is out.
static bool put(json_t *object, const char *name, json_t *value)
{
	return json_object_set_new(object, name, value) == 0;
}

static bool put_number(json_t *object, const char *name, double value)
{
	return isnan(value) || put(object, name, json_real(value));
}

// The member that is an object, made where there is none; NULL where it is something else, which its reader refuses.
// False when memory is out.
static bool open_object(json_t *parent, const char *name, json_t **ret_object)
{
	if (!has(parent, name) && !put(parent, name, json_object()))
		return false;
	json_t *object = json_object_get(parent, name);
	*ret_object = json_is_object(object) ? object : NULL;
	return true;
}

static bool apply_batch(json_t *root, const struct deepspeed_overrides *overrides)
{
	enum { TRAIN, MICRO, ACCUMULATION, KEYS };
	static const char *const names[KEYS] = {"train_batch_size", "train_micro_batch_size_per_gpu",
						"gradient_accumulation_steps"};
	const uint32_t values[KEYS] = {overrides->train_batch_size, overrides->micro_batch_size,
				       overrides->gradient_accumulation_steps};
	unsigned given = 0, known = 0;
	int other = TRAIN; // the one not given, where two are
	for (int i = 0; i < KEYS; i++) {
		given += values[i] > 0;
		known += values[i] > 0 || has(root, names[i]);
		if (values[i] == 0)
			other = i;
	}
	// Two numbers give the third, and what the file says of it no longer holds.
	if (known == KEYS && given == 2)
		json_object_del(root, names[other]);
	// One and the file's two others: the micro-batch stays, which decides the memory.
	if (known == KEYS && given == 1)
		json_object_del(root, names[values[TRAIN] > 0 ? ACCUMULATION : TRAIN]);
	for (int i = 0; i < KEYS; i++)
		if (values[i] > 0 && !put(root, names[i], json_integer(values[i])))
			return false;
	return true;
}

static bool refuse_memory(struct error *error)
{
	return error_set(error, ERROR_FAILED, "no memory for the configuration");
}

static bool apply_optimizer(json_t *root, const struct deepspeed_overrides *overrides, struct error *error)
{
	const char *type = overrides->optimizer;
	json_t *section, *params;
	if (type == NULL && isnan(overrides->learning_rate) && isnan(overrides->momentum) &&
	    isnan(overrides->weight_decay))
		return true;
	if (type == NULL && !has(root, "optimizer"))
		type = "SGD"; // as without the section
	if (!open_object(root, "optimizer", &section))
		return refuse_memory(error);
	if (section == NULL)
		return true;
	if ((type != NULL && !put(section, "type", json_string(type))) || !open_object(section, "params", &params))
		return refuse_memory(error);
	if (params == NULL)
		return true;
	enum optimizer_kind kind;
	type = json_string_value(json_object_get(section, "type"));
	if (!isnan(overrides->momentum) && type != NULL && optimizer_parse(type, &kind) && kind != OPTIMIZER_SGD)
		return error_set(error, ERROR_USAGE, "--momentum applies to SGD; the optimizer %s %s",
				 optimizer_name(kind),
				 optimizer_has_betas(kind) ? "has betas, which ds_config.json sets" : "has none");
	if (!put_number(params, "lr", overrides->learning_rate) ||
	    !put_number(params, "momentum", overrides->momentum) ||
	    !put_number(params, "weight_decay", overrides->weight_decay))
		return refuse_memory(error);
	return true;
}

// "section": {"name": value}. False when memory is out.
static bool put_boolean(json_t *root, const char *section, const char *name, bool value)
{
	json_t *object;
	return open_object(root, section, &object) && (object == NULL || put(object, name, json_boolean(value)));
}

// "penstock.tf32" belongs to float32: a 16-bit precision leaves it as it is.
static bool apply_precision(json_t *root, const char *name, struct error *error)
{
	bool tf32 = strcasecmp(name, "tf32") == 0, fp32 = tf32 || strcasecmp(name, "fp32") == 0;
	bool fp16 = strcasecmp(name, "fp16") == 0, bf16 = strcasecmp(name, "bf16") == 0;
	if (!fp32 && !fp16 && !bf16)
		return error_set(error, ERROR_USAGE,
				 "--precision: unknown type \"%.40s\"; known: fp32, tf32, bf16 and fp16", name);
	const char *section = !has(root, "bf16") && has(root, "bfloat16") ? "bfloat16" : "bf16";
	if (!put_boolean(root, "fp16", "enabled", fp16) || !put_boolean(root, section, "enabled", bf16) ||
	    (fp32 && !put_boolean(root, "penstock", "tf32", tf32)))
		return refuse_memory(error);
	return true;
}

static bool apply_types(json_t *root, const struct deepspeed_overrides *overrides, struct error *error)
{
	enum data_type type;
	const char *name = overrides->communication_type;
	if (overrides->precision != NULL && !apply_precision(root, overrides->precision, error))
		return false;
	if (name != NULL && !data_type_parse(name, &type))
		return error_set(error, ERROR_USAGE,
				 "--communication-data-type: unknown type \"%.40s\"; known: fp32, bf16 and fp16", name);
	if (name != NULL && !put(root, "communication_data_type", json_string(name)))
		return refuse_memory(error);
	return true;
}

static bool apply_pipeline(json_t *root, const struct deepspeed_overrides *overrides, struct error *error)
{
	json_t *section;
	if (overrides->checkpoint_interval < 0)
		return true;
	if (!open_object(root, "pipeline", &section) ||
	    (section != NULL &&
	     !put(section, "activation_checkpoint_interval", json_integer(overrides->checkpoint_interval))))
		return refuse_memory(error);
	return true;
}

bool deepspeed_overrides_apply(const struct deepspeed_overrides *overrides, json_t *root, struct error *error)
{
	// JSON has no infinity, so no reader of a key would see it.
	if (isinf(overrides->learning_rate) || isinf(overrides->momentum) || isinf(overrides->weight_decay))
		return error_set(error, ERROR_USAGE, "--lr %g, --momentum %g, --weight-decay %g: each must be finite",
				 overrides->learning_rate, overrides->momentum, overrides->weight_decay);
	if (!apply_batch(root, overrides))
		return refuse_memory(error);
	return apply_optimizer(root, overrides, error) && apply_types(root, overrides, error) &&
	       apply_pipeline(root, overrides, error);
}

json_t *deepspeed_overrides_base(const struct deepspeed_overrides *overrides)
{
	enum optimizer_kind kind = OPTIMIZER_SGD;
	json_t *root = json_pack("{s:i}", "gradient_clipping", 0);
	bool ok = root != NULL;
	if (ok && overrides->optimizer != NULL && optimizer_parse(overrides->optimizer, &kind) &&
	    (kind == OPTIMIZER_ADAM || kind == OPTIMIZER_ADAMW))
		ok = put(root, "optimizer",
			 json_pack("{s:{s:b, s:b}}", "params", "torch_adam", true, "adam_w_mode", false));
	if (ok && overrides->train_batch_size == 0 && overrides->micro_batch_size == 0 &&
	    overrides->gradient_accumulation_steps == 0)
		ok = put(root, "train_micro_batch_size_per_gpu", json_integer(DEFAULT_MICRO_BATCH_SIZE)) &&
		     put(root, "gradient_accumulation_steps", json_integer(DEFAULT_MICRO_BATCHES));
	if (ok)
		return root;
	json_decref(root);
	return NULL;
}
