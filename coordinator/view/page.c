// See page.h.
#include "coordinator/view/page.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"
#include "coordinator/view/bar.h"
#include "coordinator/view/table.h"
#include "coordinator/view/text.h"

enum { NAME_SIZE = 400, RATE_SIZE = 32, MINIMUM_NODE = 8 };

// What fits 80 columns comes first.
enum column {
	COLUMN_JOB, // left out where all stages are of one job, which the line above names
	COLUMN_STAGE,
	COLUMN_REPLICA, // as the ring's: left out where there are no replicas
	COLUMN_NODE,
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
	COLUMN_DEVICE,
	COLUMN_MODEL,
	COLUMN_RING_IN,
	COLUMN_RING_OUT,
	COLUMN_COUNT,
};

static const struct table_column all_columns[COLUMN_COUNT] = {
	[COLUMN_JOB] = {"JOB", false},
	[COLUMN_STAGE] = {"STAGE", true},
	[COLUMN_REPLICA] = {"REPLICA", true},
	[COLUMN_NODE] = {"NODE", false},
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

static double busy_share(const struct rates_stage *stage)
{
	double busy = 0.0;
	for (int i = 0; i < PHASE_FIRST_WAIT; i++)
		busy += stage->share[i];
	return busy < 1.0 ? busy : 1.0;
}

// A column that a layout leaves out gets no cell.
struct layout {
	bool has_jobs, has_replicas;
	uint32_t node_width, bar_width;
};

static bool is_shown(const struct layout *layout, enum column column)
{
	switch (column) {
	case COLUMN_JOB:
		return layout->has_jobs;
	case COLUMN_REPLICA:
	case COLUMN_RING_IN:
	case COLUMN_RING_OUT:
		return layout->has_replicas;
	default:
		return true;
	}
}

static void add_bar(struct table *table, const struct rates_stage *stage, uint32_t width)
{
	char bar[PAGE_MAXIMUM_BAR + 1];
	if (stage->known)
		bar_draw(stage->share, width, bar);
	else
		snprintf(bar, sizeof(bar), "%*s", (int)width, "");
	table_cell(table, "%s", bar);
}

// A socket's path is told from others by its end, a host by its beginning.
static void add_node(struct table *table, const char *address, uint32_t width)
{
	char text[NAME_SIZE];
	uint32_t length = (uint32_t)strlen(address);
	if (length > width && strncmp(address, "unix:", 5) == 0)
		snprintf(text, sizeof(text), "\u2026%s", address + (length - width + 1));
	else
		text_fit(address, width, text, sizeof(text));
	table_cell(table, "%s", text);
}

static void add_cell(struct table *table, const struct rates_stage *stage, const struct layout *layout,
		     enum column column)
{
	char used[RATE_SIZE], limit[RATE_SIZE], text[RATE_SIZE] = "-"; // before anything is known
	const struct rates_link *links = stage->links;
	switch (column) {
	case COLUMN_JOB:
		table_cell(table, "%s", stage->job);
		break;
	case COLUMN_STAGE:
		table_cell(table, "%u", stage->pipeline_stage);
		break;
	case COLUMN_REPLICA:
		table_cell(table, "%u", stage->replica);
		break;
	case COLUMN_NODE:
		add_node(table, stage->address, layout->node_width);
		break;
	case COLUMN_STEP:
		table_cell(table, "%" PRIu64, stage->step);
		break;
	case COLUMN_SAMPLES:
		if (stage->known)
			snprintf(text, sizeof(text), "%.1f", stage->samples_per_second);
		table_cell(table, "%s", text);
		break;
	case COLUMN_BUSY:
		if (stage->known)
			snprintf(text, sizeof(text), "%.0f%%", 100.0 * busy_share(stage));
		table_cell(table, "%s", text);
		break;
	case COLUMN_BAR:
		add_bar(table, stage, layout->bar_width);
		break;
	case COLUMN_MEMORY:
		table_cell(table, "%s of %s", strings_format_bytes(stage->memory_bytes, used, sizeof(used)),
			   strings_format_bytes(stage->limit_bytes, limit, sizeof(limit)));
		break;
	case COLUMN_PREVIOUS_IN:
		add_rate(table, &links[RATES_PREVIOUS], links[RATES_PREVIOUS].received);
		break;
	case COLUMN_PREVIOUS_OUT:
		add_rate(table, &links[RATES_PREVIOUS], links[RATES_PREVIOUS].sent);
		break;
	case COLUMN_NEXT_IN:
		add_rate(table, &links[RATES_NEXT], links[RATES_NEXT].received);
		break;
	case COLUMN_NEXT_OUT:
		add_rate(table, &links[RATES_NEXT], links[RATES_NEXT].sent);
		break;
	case COLUMN_SINCE:
		if (stage->known)
			snprintf(text, sizeof(text), "%.1f s ago", stage->seconds_since_step);
		table_cell(table, "%s", text);
		break;
	case COLUMN_DEVICE:
		table_cell(table, "%s", stage->device);
		break;
	case COLUMN_MODEL:
		table_cell(table, "%s", stage->model);
		break;
	case COLUMN_RING_IN:
		add_rate(table, &links[RATES_PREVIOUS_REPLICA], links[RATES_PREVIOUS_REPLICA].received);
		break;
	case COLUMN_RING_OUT:
		add_rate(table, &links[RATES_NEXT_REPLICA], links[RATES_NEXT_REPLICA].sent);
		break;
	case COLUMN_COUNT:
		break;
	}
}

// The columns from `first` to before `end`, with all stages' cells. NULL when memory is out. `list` has room for all columns.
static struct table *make_table(const struct shown *shown, const struct layout *layout, enum column end,
				struct table_column list[COLUMN_COUNT])
{
	uint32_t count = 0;
	for (enum column column = 0; column < end; column++)
		if (is_shown(layout, column))
			list[count++] = all_columns[column];
	struct table *table = table_create(list, count);
	for (uint32_t i = 0; i < shown->count && table != NULL; i++)
		for (enum column column = 0; column < end; column++)
			if (is_shown(layout, column))
				add_cell(table, shown->stages[i], layout, column);
	return table;
}

static bool has_replicas(const struct shown *shown)
{
	for (uint32_t i = 0; i < shown->count; i++)
		if (shown->stages[i]->replica > 0 || shown->stages[i]->links[RATES_PREVIOUS_REPLICA].exists ||
		    shown->stages[i]->links[RATES_NEXT_REPLICA].exists)
			return true;
	return false;
}

static uint32_t clamp(uint32_t value, uint32_t minimum, uint32_t maximum)
{
	return value < minimum ? minimum : value > maximum ? maximum : value;
}

// On a screen the bar gets what the columns before it leave; where that is too little for a bar, nodes' names are cut.
static bool lay_out(const struct shown *shown, uint32_t columns, struct layout *ret_layout)
{
	struct layout layout = {.has_replicas = has_replicas(shown), .node_width = TABLE_CELL_COLUMNS};
	struct table_column list[COLUMN_COUNT];
	for (uint32_t i = 1; i < shown->count && !layout.has_jobs; i++)
		layout.has_jobs = strcmp(shown->stages[i]->job, shown->stages[0]->job) != 0;
	layout.bar_width = PAGE_PLAIN_BAR;
	*ret_layout = layout;
	if (columns == 0)
		return true;
	struct table *table = make_table(shown, &layout, COLUMN_BAR, list);
	if (table == NULL)
		return false;
	uint32_t node = COLUMN_NODE - !layout.has_jobs - !layout.has_replicas;
	uint32_t before = table_offset(table, COLUMN_BAR - !layout.has_jobs - !layout.has_replicas);
	uint32_t node_width = table_offset(table, node + 1) - table_offset(table, node) - 2;
	table_destroy(table);
	uint32_t missing = before + PAGE_MINIMUM_BAR > columns ? before + PAGE_MINIMUM_BAR - columns : 0;
	layout.node_width = clamp(node_width > missing ? node_width - missing : 0, MINIMUM_NODE, TABLE_CELL_COLUMNS);
	layout.bar_width = clamp(columns > before ? columns - before : 0, PAGE_MINIMUM_BAR, PAGE_MAXIMUM_BAR);
	*ret_layout = layout;
	return true;
}

static bool write_stages(const struct shown *shown, uint32_t columns, FILE *out, struct page *page)
{
	struct layout layout;
	struct table_column list[COLUMN_COUNT];
	if (!lay_out(shown, columns, &layout))
		return false;
	struct table *table = make_table(shown, &layout, COLUMN_COUNT, list);
	if (table == NULL)
		return false;
	page->bar_column = table_offset(table, COLUMN_BAR - !layout.has_jobs - !layout.has_replicas);
	page->bar_width = layout.bar_width;
	bool ok = table_write(table, 0, out);
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
		fprintf(out, "job \"%s\" is not running here\n", strings_printable(options->job, name, sizeof(name)));
	else if (shown->count == 0)
		fprintf(out, "no job is running\n");
	if (shown->count == 0)
		return true;
	write_jobs(shown, out, &page->first_row);
	fprintf(out, "\n");
	page->first_row += 2; // and the table's header
	page->row_count = shown->count;
	bool ok = write_stages(shown, options->columns, out, page);
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
