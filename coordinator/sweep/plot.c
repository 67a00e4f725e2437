// See plot.h.
#include "coordinator/sweep/plot.h"

#include <math.h>
#include <string.h>

#include "common/base/strings.h"

// Okabe and Ito's colours, which people tell apart whatever colours they see; then shapes, and then both begin again.
static const char *const colours[] = {"#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999"};
static const int shapes[] = {7, 5, 9, 13, 11, 15, 3};
enum { COLOURS = sizeof(colours) / sizeof(colours[0]) };

enum { HEAD_PIXELS = 110, PANEL_PIXELS = 400, FOOT_PIXELS = 40, WIDTH_PIXELS = 1400, TEXT_SIZE = 400 };
enum { FIRST_KEY = 100 }; // gnuplot numbers labels, objects and arrows
#define GROUP_WIDTH 0.84
#define SERIES      ", \\\n" // between two of a panel

struct plot {
	const struct sweep *sweep;
	FILE *out;
	double bar_width;                  // groups are 1 apart
	double most_rate, most_efficiency; // ends of the axes
	double height;                     // of the picture, pixels
};

// In single quotes, as gnuplot wants it.
static void write_quoted(const char *text, FILE *out)
{
	char printable[TEXT_SIZE];
	fputc('\'', out);
	for (const char *c = strings_printable(text, printable, sizeof(printable)); *c != '\0'; c++) {
		if (*c == '\'')
			fputc('\'', out);
		fputc(*c, out);
	}
	fputc('\'', out);
}

static const struct sweep_result *result_at(const struct plot *plot, uint32_t b, uint32_t n, uint32_t p)
{
	const struct grid *grid = &plot->sweep->grid;
	return sweep_find(plot->sweep, (struct cell){.nodes = grid->nodes.values[n],
						     .pipeline_size = grid->pipeline_sizes.values[p],
						     .micro_batch_size = grid->micro_batch_sizes.values[b]});
}

static bool has_bar(const struct sweep_result *result)
{
	return result->outcome == SWEEP_DONE || result->outcome == SWEEP_OUT_OF_MEMORY ||
	       result->outcome == SWEEP_FAILED || result->outcome == SWEEP_DIVERGED;
}

static uint32_t count_bars(const struct plot *plot, uint32_t b, uint32_t n)
{
	uint32_t bars = 0;
	for (uint32_t p = 0; p < plot->sweep->grid.pipeline_sizes.count; p++)
		bars += has_bar(result_at(plot, b, n, p));
	return bars;
}

// What the nodes' devices would reach together, were each as fast as one alone; NAN where that is not known.
static double ideal_rate(const struct plot *plot, uint32_t b, uint32_t n)
{
	for (uint32_t p = 0; p < plot->sweep->grid.pipeline_sizes.count; p++) {
		const struct sweep_result *result = result_at(plot, b, n, p);
		double efficiency = sweep_efficiency(plot->sweep, result);
		if (!isnan(efficiency) && efficiency > 0.0)
			return result->figures.samples_per_second / efficiency;
	}
	return NAN;
}

static void measure(struct plot *plot)
{
	const struct grid *grid = &plot->sweep->grid;
	uint32_t most_bars = 2;
	plot->most_efficiency = 1.0;
	for (uint32_t b = 0; b < grid->micro_batch_sizes.count; b++)
		for (uint32_t n = 0; n < grid->nodes.count; n++) {
			uint32_t bars = count_bars(plot, b, n);
			most_bars = bars > most_bars ? bars : most_bars;
			plot->most_rate = fmax(plot->most_rate, ideal_rate(plot, b, n)); // fmax passes over NAN
			for (uint32_t p = 0; p < grid->pipeline_sizes.count; p++) {
				const struct sweep_result *result = result_at(plot, b, n, p);
				if (result->outcome == SWEEP_DONE)
					plot->most_rate = fmax(plot->most_rate, result->figures.samples_per_second);
				plot->most_efficiency =
					fmax(plot->most_efficiency, sweep_efficiency(plot->sweep, result));
			}
		}
	plot->most_rate = plot->most_rate > 0.0 ? 1.18 * plot->most_rate : 1.0;
	plot->most_efficiency *= 1.12;
	plot->bar_width = fmin(GROUP_WIDTH / most_bars, 0.3);
	plot->height = HEAD_PIXELS + FOOT_PIXELS + PANEL_PIXELS * (double)grid->micro_batch_sizes.count;
}

// Middle of a bar; bars stand together in the middle of their group, without gaps for cells that have none.
static double bar_at(const struct plot *plot, uint32_t b, uint32_t n, uint32_t p)
{
	uint32_t before = 0, bars = count_bars(plot, b, n);
	for (uint32_t i = 0; i < p; i++)
		before += has_bar(result_at(plot, b, n, i));
	return n + 1.0 + (before - (bars - 1) / 2.0) * plot->bar_width;
}

// ---- The figures

static void write_label(double rate, FILE *out)
{
	fprintf(out, " \"%.*f\"", rate < 10.0 ? 2 : rate < 100.0 ? 1 : 0, rate);
}

// Where the figure beside a point of efficiency stands: on its height, or over the one below, which would be covered.
static double label_at(const struct plot *plot, uint32_t b, uint32_t n, uint32_t p)
{
	const double least = 0.05 * plot->most_efficiency; // a line of text
	double own = sweep_efficiency(plot->sweep, result_at(plot, b, n, p)), below = -1.0;
	uint32_t next = p;
	for (uint32_t i = 0; i < plot->sweep->grid.pipeline_sizes.count; i++) {
		double other = sweep_efficiency(plot->sweep, result_at(plot, b, n, i));
		bool is_below = i != p && !isnan(other) && (other < own || (other == own && i < p));
		if (is_below && other >= below) { // of equals the last is the nearest
			below = other;
			next = i;
		}
	}
	return next == p ? own : fmax(own, label_at(plot, b, n, next) + least);
}

// Blocks of lines "x y text" for panel row `b`: $bars_B_P, $lines_B_P (and the height of the text); $stubs_B_P for those without a
// figure.
static void write_series(const struct plot *plot, uint32_t b, uint32_t p)
{
	uint32_t groups = plot->sweep->grid.nodes.count;
	fprintf(plot->out, "$bars_%u_%u << EOD\n", b, p);
	for (uint32_t n = 0; n < groups; n++) {
		const struct sweep_result *result = result_at(plot, b, n, p);
		if (result->outcome != SWEEP_DONE)
			continue;
		fprintf(plot->out, "%.5f %.6g", bar_at(plot, b, n, p), result->figures.samples_per_second);
		write_label(result->figures.samples_per_second, plot->out);
		fputc('\n', plot->out);
	}
	fprintf(plot->out, "EOD\n$stubs_%u_%u << EOD\n", b, p);
	for (uint32_t n = 0; n < groups; n++) {
		const struct sweep_result *result = result_at(plot, b, n, p);
		if (has_bar(result) && result->outcome != SWEEP_DONE)
			fprintf(plot->out, "%.5f %.6g \"%s\"\n", bar_at(plot, b, n, p), 0.05 * plot->most_rate,
				sweep_outcome_name(result->outcome));
	}
	fprintf(plot->out, "EOD\n$lines_%u_%u << EOD\n", b, p);
	for (uint32_t n = 0; n < groups; n++) {
		double efficiency = sweep_efficiency(plot->sweep, result_at(plot, b, n, p));
		if (!isnan(efficiency))
			fprintf(plot->out, "%u %.6g \"%.2f\" %.6g\n", n + 1, efficiency, efficiency,
				label_at(plot, b, n, p));
	}
	fputs("EOD\n", plot->out);
}

// $ideal_B: a piece of a line over each group of which it is known.
static void write_ideals(const struct plot *plot, uint32_t b)
{
	fprintf(plot->out, "$ideal_%u << EOD\n", b);
	for (uint32_t n = 0; n < plot->sweep->grid.nodes.count; n++) {
		double rate = ideal_rate(plot, b, n);
		if (!isnan(rate))
			fprintf(plot->out, "%.5f %.6g\n%.5f %.6g\n\n", n + 1.0 - 0.5 * GROUP_WIDTH, rate,
				n + 1.0 + 0.5 * GROUP_WIDTH, rate);
	}
	fputs("EOD\n", plot->out);
}

// A block without lines is not there for gnuplot, so only those with some are drawn.
static bool has_outcome(const struct plot *plot, uint32_t b, uint32_t p, bool done)
{
	for (uint32_t n = 0; n < plot->sweep->grid.nodes.count; n++) {
		const struct sweep_result *result = result_at(plot, b, n, p);
		if (has_bar(result) && (result->outcome == SWEEP_DONE) == done)
			return true;
	}
	return false;
}

static bool has_ideal(const struct plot *plot, uint32_t b)
{
	for (uint32_t n = 0; n < plot->sweep->grid.nodes.count; n++)
		if (!isnan(ideal_rate(plot, b, n)))
			return true;
	return false;
}

static bool has_efficiency(const struct plot *plot, uint32_t b, uint32_t p)
{
	for (uint32_t n = 0; n < plot->sweep->grid.nodes.count; n++)
		if (!isnan(sweep_efficiency(plot->sweep, result_at(plot, b, n, p))))
			return true;
	return false;
}

// ---- The panels

static void write_ticks(const struct plot *plot, bool is_last)
{
	const struct grid_list *nodes = &plot->sweep->grid.nodes;
	fputs("set xtics nomirror scale 0 (", plot->out);
	for (uint32_t n = 0; n < nodes->count; n++)
		fprintf(plot->out, "%s'%u' %u", n > 0 ? ", " : "", nodes->values[n], n + 1);
	fprintf(plot->out, ")\nset xrange [0.5:%u.5]\nset xlabel '%s'\n", nodes->count, is_last ? "nodes" : "");
}

static void write_place(const struct plot *plot, uint32_t b, double left, double right)
{
	double top = 1.0 - (HEAD_PIXELS + PANEL_PIXELS * (double)b + 30.0) / plot->height;
	double bottom = 1.0 - (HEAD_PIXELS + PANEL_PIXELS * (double)(b + 1) - 50.0) / plot->height;
	fprintf(plot->out,
		"set lmargin at screen %.4f\nset rmargin at screen %.4f\nset tmargin at screen %.4f\nset bmargin at "
		"screen %.4f\n",
		left, right, top, bottom);
}

enum { CHARACTER_PIXELS = 8, SWATCH_PIXELS = 26, GAP_PIXELS = 34 };

static int key_width(const char *name)
{
	return SWATCH_PIXELS + 8 + CHARACTER_PIXELS * (int)strlen(name) + GAP_PIXELS;
}

static const char *size_name(uint32_t pipeline_size, char *into, size_t size)
{
	if (pipeline_size == 0)
		snprintf(into, size, "no pipeline");
	else
		snprintf(into, size, "%u stage%s", pipeline_size, pipeline_size == 1 ? "" : "s");
	return into;
}

// What the colours and marks mean, in one line over the panels. Not gnuplot's own key, which is cut to a panel's width.
static void write_key(const struct plot *plot)
{
	static const char ideal[] = "ideal: devices x one device";
	const struct grid_list *sizes = &plot->sweep->grid.pipeline_sizes;
	char name[40];
	int width = key_width(ideal);
	for (uint32_t p = 0; p < sizes->count; p++)
		width += key_width(size_name(sizes->values[p], name, sizeof(name)));
	double x = (WIDTH_PIXELS - width + GAP_PIXELS) / 2.0, y = 1.0 - 66.0 / plot->height;
	for (uint32_t p = 0; p <= sizes->count; p++) {
		const char *text = p < sizes->count ? size_name(sizes->values[p], name, sizeof(name)) : ideal;
		double end = x + SWATCH_PIXELS, half = 7.0 / plot->height;
		if (p < sizes->count)
			fprintf(plot->out,
				"set object %u rectangle from screen %.5f, screen %.5f to screen %.5f, screen %.5f "
				"fillcolor rgb '%s' fs solid 1.0 noborder\n",
				FIRST_KEY + p, x / WIDTH_PIXELS, y - half, end / WIDTH_PIXELS, y + half,
				colours[p % COLOURS]);
		else
			fprintf(plot->out,
				"set arrow %u from screen %.5f, screen %.5f to screen %.5f, screen %.5f nohead lc rgb "
				"'#222222' lw 2 dt (6,4)\n",
				FIRST_KEY + p, x / WIDTH_PIXELS, y, end / WIDTH_PIXELS, y);
		fprintf(plot->out, "set label %u '%s' at screen %.5f, screen %.5f left tc rgb '#222222'\n",
			FIRST_KEY + p, text, (end + 8.0) / WIDTH_PIXELS, y);
		x += key_width(text);
	}
}

static void write_bars(const struct plot *plot, uint32_t b)
{
	FILE *out = plot->out;
	uint32_t sizes = plot->sweep->grid.pipeline_sizes.count;
	write_place(plot, b, 0.062, 0.585);
	fprintf(out, "set title 'Throughput, micro-batches of %u'\n", plot->sweep->grid.micro_batch_sizes.values[b]);
	fprintf(out, "set ylabel 'samples/s'\nset yrange [0:%.6g]\nset boxwidth %.5f\n", plot->most_rate,
		0.92 * plot->bar_width);
	// A smaller font where there is less place for a bar's figure.
	double bar_pixels = plot->bar_width * 0.52 * WIDTH_PIXELS / plot->sweep->grid.nodes.count;
	int font = bar_pixels > 44.0 ? 11 : bar_pixels > 32.0 ? 9 : 7;
	fputs("plot NaN", out);
	for (uint32_t p = 0; p < sizes; p++) {
		const char *colour = colours[p % COLOURS];
		if (has_outcome(plot, b, p, true))
			fprintf(out, SERIES "$bars_%u_%u using 1:2 with boxes lc rgb '%s' fs solid 1.0 noborder", b, p,
				colour);
		if (has_outcome(plot, b, p, false))
			fprintf(out,
				SERIES
				"$stubs_%u_%u using 1:2 with boxes lc rgb '%s' fs pattern 4 border lc rgb '%s'" SERIES
				"$stubs_%u_%u using 1:2:3 with labels left rotate by 90 offset 0,0.6 font ',%d'",
				b, p, colour, colour, b, p, font < 10 ? font : 10);
	}
	if (has_ideal(plot, b))
		fprintf(out, SERIES "$ideal_%u using 1:2 with lines lc rgb '#222222' lw 2 dt (6,4)", b);
	for (uint32_t p = 0; p < sizes; p++) // over the lines
		if (has_outcome(plot, b, p, true))
			fprintf(out, SERIES "$bars_%u_%u using 1:2:3 with labels boxed offset 0,0.7 font ',%d'", b, p,
				font);
	fputc('\n', out);
}

static void write_lines(const struct plot *plot, uint32_t b)
{
	FILE *out = plot->out;
	uint32_t size = plot->sweep->grid.micro_batch_sizes.values[b];
	uint32_t sizes = plot->sweep->grid.pipeline_sizes.count;
	const struct sweep_result *base = sweep_base(plot->sweep, size);
	write_place(plot, b, 0.655, 0.985);
	fprintf(out, "set title 'Efficiency, micro-batches of %u'\n", size);
	fprintf(out, "set ylabel 'efficiency'\nset yrange [0:%.4f]\n", plot->most_efficiency);
	if (base == NULL || base->outcome != SWEEP_DONE || base->figures.devices != 1) {
		char why[120];
		snprintf(why, sizeof(why), "none: one device alone %s",
			 base == NULL || base->outcome == SWEEP_DONE ? "is not among the cells"
			 : base->outcome == SWEEP_OUT_OF_MEMORY      ? "is out of memory"
			 : base->outcome == SWEEP_DIVERGED           ? "diverged"
			 : base->outcome == SWEEP_FAILED             ? "failed"
								     : "was not run");
		fputs("set label 1 ", out);
		write_quoted(why, out);
		fputs(" at graph 0.5, graph 0.5 center tc rgb '#222222'\n", out);
	}
	fputs("plot 1 with lines lc rgb '#222222' lw 2 dt (6,4)", out);
	for (uint32_t p = 0; p < sizes; p++)
		if (has_efficiency(plot, b, p))
			fprintf(out, SERIES "$lines_%u_%u using 1:2 with linespoints lc rgb '%s' lw 3 pt %d ps 1.6", b,
				p, colours[p % COLOURS], shapes[p % COLOURS]);
	for (uint32_t p = 0; p < sizes; p++)
		if (has_efficiency(plot, b, p))
			fprintf(out, SERIES "$lines_%u_%u using 1:4:3 with labels left boxed offset 1.2,0.1 font ',10'",
				b, p);
	fputs("\nunset label 1\n", out);
}

// ---- The script

static void write_picture(const struct plot *plot, const char *terminal, const char *name)
{
	const struct sweep *sweep = plot->sweep;
	FILE *out = plot->out;
	uint32_t rows = sweep->grid.micro_batch_sizes.count;
	fprintf(out,
		"\nset terminal %s size %d,%.0f font 'DejaVu Sans,12' noenhanced background rgb 'white'\n"
		"set output '%s'.suffix\nset multiplot\n",
		terminal, WIDTH_PIXELS, plot->height, name);
	fputs("set label 10 ", out);
	write_quoted(sweep->title, out);
	fprintf(out, " at screen 0.5, screen %.4f center font ',17'\n", 1.0 - 28.0 / plot->height);
	if (sweep->note[0] != '\0') {
		fputs("set label 11 ", out);
		write_quoted(sweep->note, out);
		fprintf(out, " at screen 0.5, screen %.4f center font ',12' tc rgb '#B03000'\n", 18.0 / plot->height);
	}
	write_key(plot);
	for (uint32_t b = 0; b < rows; b++) {
		write_ticks(plot, b + 1 == rows);
		write_bars(plot, b);
		if (b == 0) // drawn with the first panel
			fputs("unset label\nunset object\nunset arrow\n", out);
		write_lines(plot, b);
	}
	fputs("unset multiplot\nunset output\n", out);
}

void sweep_plot_write(const struct sweep *sweep, FILE *out)
{
	struct plot plot = {.sweep = sweep, .out = out};
	const struct grid *grid = &sweep->grid;
	measure(&plot);
	fputs("# Draws sweep.png and sweep.svg: gnuplot sweep.gp\n"
	      "if (!exists('suffix')) suffix = ''\n"
	      "set encoding utf8\n"
	      "set border 3 lc rgb '#666666'\nset grid ytics lc rgb '#dddddd' lt 1\nset ytics nomirror\n"
	      "set tics tc rgb '#222222'\nunset key\n"
	      "set style textbox opaque noborder fillcolor rgb 'white' margins 0.4,0.3\n",
	      out);
	for (uint32_t b = 0; b < grid->micro_batch_sizes.count; b++) {
		for (uint32_t p = 0; p < grid->pipeline_sizes.count; p++)
			write_series(&plot, b, p);
		write_ideals(&plot, b);
	}
	write_picture(&plot, "pngcairo", "sweep.png");
	write_picture(&plot, "svg", "sweep.svg");
}
