// See sweep_setting.h.
#include "coordinator/command/sweep_setting.h"

#include <stdio.h>
#include <unistd.h>

#include "common/base/address.h"
#include "common/base/log.h"
#include "common/base/processors.h"
#include "common/base/strings.h"
#include "common/model/data_type.h"
#include "common/model/optimizer.h"

static json_t *hosts_of(const struct job_nodes *nodes)
{
	json_t *hosts = json_array();
	for (uint32_t i = 0; i < nodes->hostfile.count; i++)
		json_array_append_new(hosts, json_sprintf("%s slots=%u", nodes->hostfile.hosts[i].address,
							  nodes->hostfile.hosts[i].slots));
	return hosts;
}

// The daemons that are started here count by what each of them has.
static void add_nodes(json_t *setting, const struct sweep_arguments *arguments, const struct job_nodes *nodes)
{
	bool is_local = nodes->local.count > 0;
	json_object_set_new(setting, "nodes", is_local ? json_string("local") : hosts_of(nodes));
	if (is_local)
		json_object_set_new(setting, "threads", json_integer(local_daemons_threads(&nodes->local)));
	json_object_set_new(setting, "memory_limit",
			    json_string(arguments->job.memory_limit != NULL ? arguments->job.memory_limit : "none"));
	json_object_set_new(setting, "fit", json_boolean(arguments->job.fit));
	json_object_set_new(setting, "plan_device",
			    json_string(arguments->job.plan_device != NULL ? arguments->job.plan_device : "default"));
	json_object_set_new(setting, "in_flight", json_integer(arguments->job.in_flight));
}

static json_t *channels(const float values[3])
{
	return json_pack("[f, f, f]", (double)values[0], (double)values[1], (double)values[2]);
}

bool sweep_setting(const struct sweep_arguments *arguments, const struct job_nodes *nodes, json_t **ret_setting,
		   struct error *error)
{
	const struct job_arguments *job = &arguments->job;
	struct deepspeed_overrides overrides = job->overrides;
	struct deepspeed_config config;
	// Some numbers, so that the file's own do not contradict: they are the cells', and not of interest here.
	overrides.micro_batch_size = arguments->grid.micro_batch_sizes.values[0];
	overrides.gradient_accumulation_steps = arguments->gradient_accumulation_steps;
	if (!deepspeed_config_read(job->deepspeed_config, &overrides, &config, error))
		return false;
	if (config.unknown_keys[0] != '\0') // once, and not for each cell
		log_warning("%s: ignored keys: %s", job->deepspeed_config, config.unknown_keys);
	json_t *setting = json_pack(
		"{s:s, s:s, s:i, s:i, s:f, s:I, s:i, s:i, s:s, s:b, s:s, s:s, s:b, s:i, s:s, s:s, s:i, s:i, s:I, s:s}",
		"penstock", PENSTOCK_VERSION, "model", job->model, "image_size", (int)job->image_size, "classes",
		(int)job->classes, "dropout", job->dropout, "steps", (json_int_t)job->steps, "warm_up_steps",
		(int)job->warm_up_steps, "gradient_accumulation_steps", (int)arguments->gradient_accumulation_steps,
		"optimizer", optimizer_name(config.optimizer.kind), "gradient_clipping", config.gradient_clipping > 0.0,
		"compute_type", data_type_name(config.compute_type), "boundary_type",
		data_type_name(config.communication_type), "tf32", config.allow_tf32, "activation_checkpoint_interval",
		(int)config.checkpoint_interval, "schedule", job->schedule, "partition_method",
		job->split != NULL ? job->split : job->partition_method, "connections", (int)job->connections,
		"chunk_bytes", (int)job->chunk_bytes, "reduce_bucket_bytes", (json_int_t)job->reduce_bucket_bytes,
		"reduce", job->reduce);
	if (setting == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	if (job->mean_is_given) // not otherwise, so that sweeps of earlier versions can be gone on with
		json_object_set_new(setting, "mean", channels(job->mean));
	if (job->deviation_is_given)
		json_object_set_new(setting, "standard_deviation", channels(job->standard_deviation));
	if (job->dropout < 0.0)
		json_object_set_new(setting, "dropout", json_string("the model's"));
	add_nodes(setting, arguments, nodes);
	*ret_setting = setting;
	return true;
}

void sweep_note(const struct job_nodes *nodes, uint32_t count, char *into, size_t size)
{
	into[0] = '\0';
	for (uint32_t i = 0; i < count && i < nodes->hostfile.count; i++)
		if (!address_is_local(nodes->hostfile.hosts[i].address))
			return;
	snprintf(into, size,
		 "%u daemon%s on one machine of %u core%s: measures correctness and overhead, not a cluster", count,
		 strings_plural(count), processors_allowed(), strings_plural(processors_allowed()));
}
