// See job_metrics.h.
#include "coordinator/report/job_metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/log.h"
#include "common/metrics/phases.h"
#include "coordinator/report/scrape.h"

static const struct metric_family info = {
	"penstock_job_info", "The job's model, schedule and sizes, as labels; always 1.", METRIC_GAUGE, 1.0};
static const struct metric_family state_family = {
	"penstock_job_state", "1 for the job's current state, 0 for the others.", METRIC_GAUGE, 1.0};
static const struct metric_family start_time = {"penstock_job_start_time_seconds",
						"Unix time at which the coordinator opened its sessions.", METRIC_GAUGE,
						1.0};
static const struct metric_family planned = {"penstock_job_planned_steps", "Optimizer steps that the job will do.",
					     METRIC_GAUGE, 1.0};
static const struct metric_family steps = {"penstock_job_steps_total", "Optimizer steps done.", METRIC_COUNTER, 1.0};
static const struct metric_family skipped = {"penstock_job_skipped_steps_total",
					     "Steps skipped because a gradient overflowed.", METRIC_COUNTER, 1.0};
static const struct metric_family diverged = {"penstock_job_diverged_steps_total",
					      "Steps whose loss or gradient norm was not finite.", METRIC_COUNTER, 1.0};
static const struct metric_family samples = {"penstock_job_samples_total", "Samples trained on.", METRIC_COUNTER, 1.0};
static const struct metric_family step_seconds = {
	"penstock_job_step_seconds", "Time from one step's end to the next one's.", METRIC_HISTOGRAM, 1e-9};
static const struct metric_family samples_rate = {"penstock_job_samples_per_second", "Rate of the last step.",
						  METRIC_REAL, 1.0};
static const struct metric_family loss = {"penstock_job_loss", "Mean loss over the last step's samples.", METRIC_REAL,
					  1.0};
static const struct metric_family accuracy = {"penstock_job_accuracy_ratio",
					      "Share of the last step's samples that were classified correctly.",
					      METRIC_REAL, 1.0};
static const struct metric_family learning_rate = {"penstock_job_learning_rate", "Learning rate of the last step.",
						   METRIC_REAL, 1.0};
static const struct metric_family loss_scale = {"penstock_job_loss_scale", "Loss scale of the last step, with float16.",
						METRIC_REAL, 1.0};
static const struct metric_family gradient_norm = {
	"penstock_job_gradient_norm", "Gradient norm of the last step before clipping, with clipping or float16.",
	METRIC_REAL, 1.0};
static const struct metric_family memory = {"penstock_job_memory_bytes",
					    "Device memory that the stage reserved, in all replicas together.",
					    METRIC_GAUGE, 1.0};
static const struct metric_family busy = {"penstock_job_busy_seconds_total",
					  "Time the stage computed or copied, by phase, in all replicas together.",
					  METRIC_COUNTER, 1e-9};
static const struct metric_family waiting = {
	"penstock_job_waiting_seconds_total",
	"Time the stage waited, by the peer it waited for, in all replicas together.", METRIC_COUNTER, 1e-9};
static const struct metric_family sent = {
	"penstock_job_sent_bytes_total",
	"Tensor bytes that the stage sent to its neighbours, in all replicas together.", METRIC_COUNTER, 1.0};
static const struct metric_family received = {
	"penstock_job_received_bytes_total",
	"Tensor bytes that the stage received from its neighbours, in all replicas together.", METRIC_COUNTER, 1.0};

struct stage_series {
	struct metric *phases[PHASE_COUNT];
	struct metric *sent, *received, *memory;
};

struct job_metrics {
	struct job_metrics_options options;
	struct metrics *metrics;
	struct scrape *scrape;
	struct metric *states[JOB_STATE_COUNT];
	struct metric *steps, *skipped, *diverged, *samples, *step_seconds;
	struct stage_series *stages; // [pipeline size]
};

static struct metric *of_stage(struct metrics *metrics, const struct metric_family *family, uint32_t stage)
{
	char labels[96];
	snprintf(labels, sizeof(labels), "pipeline_stage=\"%u\"", stage);
	return metrics_series(metrics, family, labels);
}

static void find_stage_series(struct metrics *metrics, uint32_t stage, struct stage_series *ret_series)
{
	phases_series(metrics, &busy, &waiting, stage, ret_series->phases);
	ret_series->sent = of_stage(metrics, &sent, stage);
	ret_series->received = of_stage(metrics, &received, stage);
	ret_series->memory = of_stage(metrics, &memory, stage);
}

static void describe_job(struct metrics *metrics, const struct job_metrics_options *options)
{
	char labels[256];
	const struct plan *plan = options->plan;
	snprintf(labels, sizeof(labels),
		 "version=\"%s\",model=\"%s\",schedule=\"%s\",pipeline_size=\"%u\",data_parallel_size=\"%u\"",
		 PENSTOCK_VERSION, plan->model.name, plan->options.schedule, plan->options.pipeline_size,
		 plan->options.data_parallel_size);
	metric_set(metrics_series(metrics, &info, labels), 1);
	metric_set(metrics_series(metrics, &start_time, ""), (uint64_t)time(NULL));
	metric_set(metrics_series(metrics, &planned, ""), options->steps);
}

static void find_series(struct job_metrics *job)
{
	static const char *const states[JOB_STATE_COUNT] = {
		[JOB_STATE_OPENING] = "state=\"opening\"",
		[JOB_STATE_PREPARING] = "state=\"preparing\"",
		[JOB_STATE_RUNNING] = "state=\"running\"",
		[JOB_STATE_ENDING] = "state=\"ending\"",
	};
	describe_job(job->metrics, &job->options);
	for (int i = 0; i < JOB_STATE_COUNT; i++)
		job->states[i] = metrics_series(job->metrics, &state_family, states[i]);
	job->steps = metrics_series(job->metrics, &steps, "");
	job->skipped = metrics_series(job->metrics, &skipped, "");
	job->diverged = metrics_series(job->metrics, &diverged, "");
	job->samples = metrics_series(job->metrics, &samples, "");
	job->step_seconds = metrics_series(job->metrics, &step_seconds, "");
	for (uint32_t s = 0; s < job->options.plan->options.pipeline_size; s++)
		find_stage_series(job->metrics, s, &job->stages[s]);
}

bool job_metrics_create(const struct job_metrics_options *options, struct job_metrics **ret_metrics,
			struct error *error)
{
	struct job_metrics *job = calloc(1, sizeof(*job));
	if (job == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	job->options = *options;
	job->metrics = metrics_create();
	job->stages = calloc(options->plan->options.pipeline_size, sizeof(*job->stages));
	bool ok = (job->metrics != NULL && job->stages != NULL) || error_set(error, ERROR_FAILED, "out of memory");
	if (ok) {
		find_series(job);
		job_metrics_state(job, JOB_STATE_OPENING);
		ok = scrape_start(options->address, job->metrics, &job->scrape, error) ||
		     error_wrap(error, "--metrics-listen");
	}
	if (!ok) {
		job_metrics_destroy(job);
		return false;
	}
	log_info("metrics on port %d", scrape_port(job->scrape));
	*ret_metrics = job;
	return true;
}

void job_metrics_destroy(struct job_metrics *job)
{
	if (job == NULL)
		return;
	scrape_stop(job->scrape);
	metrics_destroy(job->metrics);
	free(job->stages);
	free(job);
}

void job_metrics_state(struct job_metrics *job, enum job_state state)
{
	for (int i = 0; job != NULL && i < JOB_STATE_COUNT; i++)
		metric_set(job->states[i], i == (int)state);
}

void job_metrics_memory(struct job_metrics *job, uint32_t rank, uint64_t bytes)
{
	if (job != NULL)
		metric_add(job->stages[plan_rank_stage(job->options.plan, rank)].memory, bytes);
}

static void add_rank(struct stage_series *stage, const struct job_rank_step *rank)
{
	for (int phase = 0; phase < PHASE_COUNT; phase++)
		metric_add(stage->phases[phase], rank->phase_ns[phase]);
	metric_add(stage->sent, rank->sent_bytes);
	metric_add(stage->received, rank->received_bytes);
}

// A series that says something only once a step is done does not begin as a 0 that nobody measured.
static void set_last(struct job_metrics *job, const struct metric_family *family, double value)
{
	metric_set_real(metrics_series(job->metrics, family, ""), value);
}

void job_metrics_step(struct job_metrics *job, const struct job_step *step)
{
	if (job == NULL)
		return;
	uint32_t batch = job->options.train_batch_size;
	metric_add(job->steps, 1);
	metric_add(job->skipped, step->skipped);
	metric_add(job->diverged, step->diverged);
	metric_add(job->samples, batch);
	metric_observe(job->step_seconds, (uint64_t)(step->seconds * 1e9));
	set_last(job, &samples_rate, step->seconds > 0 ? batch / step->seconds : 0.0);
	set_last(job, &loss, step->loss);
	set_last(job, &accuracy, (double)step->correct / batch);
	set_last(job, &learning_rate, step->learning_rate);
	if (step->loss_scale > 0)
		set_last(job, &loss_scale, step->loss_scale);
	if (!(step->gradient_norm == 0) || step->loss_scale > 0)
		set_last(job, &gradient_norm, step->gradient_norm);
	for (uint32_t r = 0; r < plan_rank_count(job->options.plan); r++)
		add_rank(&job->stages[plan_rank_stage(job->options.plan, r)], &step->ranks[r]);
}
