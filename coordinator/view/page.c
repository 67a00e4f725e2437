// See page.h.
#include "coordinator/view/page.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"
#include "coordinator/view/bar.h"
#include "coordinator/view/table.h"

enum { NAME_SIZE = 100, RATE_SIZE = 32 };

// What fits 80 columns comes first.
enum column {
	COLUMN_JOB,
	COLUMN_STAGE,
	COLUMN_REPLICA,
	COLUMN_STEP,
	COLUMN_SAMPLES,
	COLUMN_BUSY,
	COLUMN_BAR,
	COLUMN_MEMORY,
	COLUMN_PREVIOUS_IN,
	COLUMN_PREVIOUS_OUT,
	COLUMN_NEXT_IN,
	COLUMN_NEXT_OUT,
	COLUMN_SINCE,
	COLUMN_NODE,
	COLUMN_DEVICE,
	COLUMN_MODEL,
	// Left out where there are no replicas:
	COLUMN_RING_IN,
	COLUMN_RING_OUT,
	COLUMN_COUNT,
};

static const struct table_column columns[COLUMN_COUNT] = {
	[COLUMN_JOB] = {"JOB", false},
	[COLUMN_STAGE] = {"STAGE", true},
	[COLUMN_REPLICA] = {"REPLICA", true},
	[COLUMN_STEP] = {"STEP", true},
	[COLUMN_SAMPLES] = {"SAMPLES/S", true},
	[COLUMN_BUSY] = {"BUSY", true},
	[COLUMN_BAR] = {"TIME", false},
	[COLUMN_MEMORY] = {"MEMORY", true},
	[COLUMN_PREVIOUS_IN] = {"PREV-IN/S", true},
	[COLUMN_PREVIOUS_OUT] = {"PREV-OUT/S", true},
	[COLUMN_NEXT_IN] = {"NEXT-IN/S", true},
	[COLUMN_NEXT_OUT] = {"NEXT-OUT/S", true},
	[COLUMN_SINCE] = {"LAST STEP", true},
	[COLUMN_NODE] = {"NODE", false},
	[COLUMN_DEVICE] = {"DEVICE", false},
	[COLUMN_MODEL] = {"MODEL", false},
	[COLUMN_RING_IN] = {"RING-IN/S", true},
	[COLUMN_RING_OUT] = {"RING-OUT/S", true},
};

struct shown {
	const struct rates_stage **stages;
	uint32_t count;
};

static int compare(const void *a, const void *b)
{
	const struct rates_stage *one = *(const struct rates_stage *const *)a;
	const struct rates_stage *other = *(const struct rates_stage *const *)b;
	int order = strcmp(one->job, other->job);
	if (order == 0)
		order = (one->replica > other->replica) - (one->replica < other->replica);
	if (order == 0)
		order = (one->pipeline_stage > other->pipeline_stage) - (one->pipeline_stage < other->pipeline_stage);
	return order != 0 ? order : strcmp(one->address, other->address);
}

static bool collect(const struct rates *rates, const char *job, struct shown *ret_shown)
{
	size_t capacity = 1;
	for (uint32_t i = 0; i < rates_nodes(rates); i++) {
		uint32_t count;
		rates_stages(rates, i, &count);
		capacity += count;
	}
	*ret_shown = (struct shown){.stages = calloc(capacity, sizeof(*ret_shown->stages))};
	if (ret_shown->stages == NULL)
		return false;
	for (uint32_t i = 0; i < rates_nodes(rates); i++) {
		uint32_t count;
		const struct rates_stage *stages = rates_stages(rates, i, &count);
		for (uint32_t k = 0; k < count; k++)
			if (job == NULL || strcmp(stages[k].job, job) == 0)
				ret_shown->stages[ret_shown->count++] = &stages[k];
	}
	qsort(ret_shown->stages, ret_shown->count, sizeof(*ret_shown->stages), compare);
	return true;
}

// ---- Jobs

struct job {
	uint32_t stages, replicas;
	uint64_t step;
	double samples_per_second; // known of every replica, or 0
};

// Of the stages from `first` to `end`. Every stage of a replica sees all of its samples: the first one that is here speaks for them.
static struct job sum_job(const struct shown *shown, uint32_t first, uint32_t end)
{
	struct job job = {.stages = end - first};
	bool all_known = true;
	for (uint32_t i = first; i < end; i++) {
		const struct rates_stage *stage = shown->stages[i];
		if (stage->step > job.step)
			job.step = stage->step;
		if (i > first && stage->replica == shown->stages[i - 1]->replica)
			continue;
		job.replicas++;
		job.samples_per_second += stage->samples_per_second;
		all_known = all_known && stage->known;
	}
	if (!all_known)
		job.samples_per_second = 0;
	return job;
}

static void write_jobs(const struct shown *shown, FILE *out, uint32_t *lines)
{
	for (uint32_t first = 0, end; first < shown->count; first = end) {
		const struct rates_stage *stage = shown->stages[first];
		char name[NAME_SIZE], model[NAME_SIZE];
		for (end = first + 1; end < shown->count && strcmp(shown->stages[end]->job, stage->job) == 0; end++)
			;
		struct job job = sum_job(shown, first, end);
		fprintf(out, "%s: %s, %u stage%s", strings_printable(stage->job, name, sizeof(name)),
			strings_printable(stage->model, model, sizeof(model)), job.stages, job.stages == 1 ? "" : "s");
		if (job.replicas > 1)
			fprintf(out, " of %u replicas", job.replicas);
		fprintf(out, ", step %" PRIu64, job.step);
		if (job.samples_per_second > 0)
			fprintf(out, ", %.1f samples/s", job.samples_per_second);
		fputc('\n', out);
		++*lines;
	}
}

// ---- Stages

static void add_rate(struct table *table, const struct rates_link *link, double rate)
{
	char bytes[RATE_SIZE];
	if (!link->exists)
		table_cell(table, " ");
	else if (!link->known)
		table_cell(table, "-");
	else
		table_cell(table, "%s", strings_format_bytes((uint64_t)rate, bytes, sizeof(bytes)));
}

static void add_ring(struct table *table, const struct rates_stage *stage)
{
	const struct rates_link *in = &stage->links[RATES_PREVIOUS_REPLICA], *out = &stage->links[RATES_NEXT_REPLICA];
	add_rate(table, in, in->received);
	add_rate(table, out, out->sent);
}

static void add_times(struct table *table, const struct rates_stage *stage, uint32_t bar_width)
{
	char bar[PAGE_MAXIMUM_BAR + 1];
	double busy = 0.0;
	if (!stage->known) {
		table_cell(table, "-");
		table_cell(table, "-");
		table_cell(table, "%*s", (int)bar_width, "");
		return;
	}
	for (int i = 0; i < PHASE_FIRST_WAIT; i++)
		busy += stage->share[i];
	bar_draw(stage->share, bar_width, bar);
	table_cell(table, "%.1f", stage->samples_per_second);
	table_cell(table, "%.0f%%", 100.0 * (busy < 1.0 ? busy : 1.0));
	table_cell(table, "%s", bar);
}

static void add_row(struct table *table, const struct rates_stage *stage, uint32_t bar_width, bool has_ring)
{
	char used[RATE_SIZE], limit[RATE_SIZE];
	const struct rates_link *previous = &stage->links[RATES_PREVIOUS], *next = &stage->links[RATES_NEXT];
	table_cell(table, "%s", stage->job);
	table_cell(table, "%u", stage->pipeline_stage);
	table_cell(table, "%u", stage->replica);
	table_cell(table, "%" PRIu64, stage->step);
	add_times(table, stage, bar_width);
	table_cell(table, "%s of %s", strings_format_bytes(stage->memory_bytes, used, sizeof(used)),
		   strings_format_bytes(stage->limit_bytes, limit, sizeof(limit)));
	add_rate(table, previous, previous->received);
	add_rate(table, previous, previous->sent);
	add_rate(table, next, next->received);
	add_rate(table, next, next->sent);
	if (stage->known)
		table_cell(table, "%.1f s ago", stage->seconds_since_step);
	else
		table_cell(table, "-");
	table_cell(table, "%s", stage->address);
	table_cell(table, "%s", stage->device);
	table_cell(table, "%s", stage->model);
	if (has_ring)
		add_ring(table, stage);
}

static bool has_ring(const struct shown *shown)
{
	for (uint32_t i = 0; i < shown->count; i++)
		if (shown->stages[i]->links[RATES_PREVIOUS_REPLICA].exists ||
		    shown->stages[i]->links[RATES_NEXT_REPLICA].exists)
			return true;
	return false;
}

static bool write_stages(const struct shown *shown, uint32_t bar_width, FILE *out, struct page *page)
{
	bool ring = has_ring(shown);
	struct table *table = table_create(columns, ring ? COLUMN_COUNT : COLUMN_RING_IN);
	if (table == NULL)
		return false;
	for (uint32_t i = 0; i < shown->count; i++)
		add_row(table, shown->stages[i], bar_width, ring);
	page->bar_column = table_offset(table, COLUMN_BAR);
	bool ok = table_write(table, out);
	table_destroy(table);
	return ok;
}

static uint32_t count_lines(const char *text)
{
	uint32_t lines = 0;
	while ((text = strchr(text, '\n')) != NULL) {
		lines++;
		text++;
	}
	return lines;
}

static bool write_page(const struct shown *shown, const struct page_options *options, FILE *out, struct page *page)
{
	char name[NAME_SIZE];
	fprintf(out, "%s\n%s", options->heading, options->complaints);
	page->first_row = 1 + count_lines(options->complaints);
	if (shown->count == 0 && options->job != NULL)
		fprintf(out, "job \"%s\" does not run here\n", strings_printable(options->job, name, sizeof(name)));
	else if (shown->count == 0)
		fprintf(out, "no job runs\n");
	if (shown->count == 0)
		return true;
	write_jobs(shown, out, &page->first_row);
	fprintf(out, "\n");
	page->first_row += 2; // and the table's header
	page->row_count = shown->count;
	page->bar_width = options->bar_width;
	bool ok = write_stages(shown, options->bar_width, out, page);
	fprintf(out, "\n" BAR_LEGEND "\n");
	return ok;
}

bool page_init(const struct rates *rates, const struct page_options *options, struct page *ret_page)
{
	struct shown shown;
	struct page page = {0};
	size_t size = 0;
	if (!collect(rates, options->job, &shown))
		return false;
	FILE *out = open_memstream(&page.text, &size);
	bool ok = out != NULL && write_page(&shown, options, out, &page);
	if (out != NULL)
		ok = fclose(out) == 0 && ok;
	free(shown.stages);
	if (ok)
		*ret_page = page;
	else
		free(page.text);
	return ok;
}

void page_fini(struct page *page)
{
	free(page->text);
	*page = (struct page){0};
}
