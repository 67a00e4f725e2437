// Makes an image square. See image.h. This is Pillow's resampling (src/libImaging/Resample.c) with its bilinear filter, whose
// support grows with the scale, so that each pixel of a large image counts: coefficients of 22 bits, rows first, then columns, rounded to
// bytes in between. Only the pixels that the crop keeps are computed, which does not change them.
#include <math.h>
#include <stdlib.h>

#include "common/base/strings.h"
#include "coordinator/dataset/image.h"

enum { PRECISION_BITS = 22 };

// How one side's pixels come from those of the image.
struct taps {
	uint32_t count;   // of coefficients, for a pixel
	uint32_t *first;  // [side] the first pixel of the image that counts
	uint32_t *used;   // [side] coefficients
	int32_t *factors; // [side][count]
};

// Where the crop begins. Python rounds halves to even.
static uint32_t crop_offset(uint32_t length, uint32_t side)
{
	uint32_t surplus = length - side, half = surplus / 2;
	return half + (surplus % 2 == 1 && half % 2 == 1);
}

static double triangle(double x)
{
	x = fabs(x);
	return x < 1.0 ? 1.0 - x : 0.0;
}

// Of the pixel `place` of a side that is scaled from `from` to `to` pixels.
static void fill_pixel(struct taps *taps, uint32_t i, uint32_t place, uint32_t from, uint32_t to)
{
	double scale = (double)from / to, wide = scale < 1.0 ? 1.0 : scale;
	double centre = (place + 0.5) * scale, sum = 0.0;
	int64_t first = (int64_t)(centre - wide + 0.5), end = (int64_t)(centre + wide + 0.5);
	first = first < 0 ? 0 : first;
	end = end > from ? from : end;
	taps->first[i] = (uint32_t)first;
	taps->used[i] = (uint32_t)(end - first);
	for (int64_t x = first; x < end; x++)
		sum += triangle(((double)x - centre + 0.5) * (1.0 / wide));
	for (int64_t x = first; x < end; x++) {
		double weight = triangle(((double)x - centre + 0.5) * (1.0 / wide));
		taps->factors[(uint64_t)i * taps->count + (uint64_t)(x - first)] =
			(int32_t)(0.5 + (sum != 0.0 ? weight / sum : weight) * (1 << PRECISION_BITS));
	}
}

static void taps_fini(struct taps *taps)
{
	free(taps->first);
	free(taps->used);
	free(taps->factors);
}

static bool taps_init(uint32_t from, uint32_t to, uint32_t side, struct taps *taps)
{
	double scale = (double)from / to;
	taps->count = (uint32_t)ceil(scale < 1.0 ? 1.0 : scale) * 2 + 1;
	taps->first = malloc(side * sizeof(*taps->first));
	taps->used = malloc(side * sizeof(*taps->used));
	taps->factors = calloc((size_t)side * taps->count, sizeof(*taps->factors));
	if (taps->first == NULL || taps->used == NULL || taps->factors == NULL)
		return false;
	for (uint32_t i = 0; i < side; i++)
		fill_pixel(taps, i, crop_offset(to, side) + i, from, to);
	return true;
}

static uint8_t to_byte(int32_t sum)
{
	sum >>= PRECISION_BITS;
	return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

// One row of the image, to `side` pixels.
static void resize_row(const uint8_t *row, const struct taps *taps, uint32_t side, uint8_t *into)
{
	for (size_t i = 0; i < side; i++) {
		const uint8_t *pixel = row + (size_t)taps->first[i] * 3;
		const int32_t *factor = taps->factors + i * taps->count, *end = factor + taps->used[i];
		int32_t red = 1 << (PRECISION_BITS - 1), green = red, blue = red;
		for (; factor < end; factor++, pixel += 3) {
			red += pixel[0] * *factor;
			green += pixel[1] * *factor;
			blue += pixel[2] * *factor;
		}
		into[3 * i] = to_byte(red);
		into[3 * i + 1] = to_byte(green);
		into[3 * i + 2] = to_byte(blue);
	}
}

// `rows` is (height, side, 3), of which the rows that count are filled. `sums` has room for a row. Row by row, so that the compiler can
// use vectors.
static void resize_columns(const uint8_t *rows, const struct taps *taps, uint32_t side, int32_t *sums, uint8_t *planes)
{
	size_t width = (size_t)side * 3;
	for (uint32_t y = 0; y < side; y++) {
		const int32_t *factors = taps->factors + (size_t)y * taps->count;
		const uint8_t *from = rows + taps->first[y] * width;
		for (size_t i = 0; i < width; i++)
			sums[i] = 1 << (PRECISION_BITS - 1);
		for (uint32_t r = 0; r < taps->used[y]; r++)
			for (size_t i = 0; i < width; i++)
				sums[i] += from[r * width + i] * factors[r];
		for (size_t x = 0; x < side; x++)
			for (size_t c = 0; c < 3; c++)
				planes[(c * side + y) * side + x] = to_byte(sums[3 * x + c]);
	}
}

static bool resize(const struct image *image, const struct taps *columns, const struct taps *rows, uint32_t side,
		   uint8_t *ret_planes, struct error *error)
{
	uint32_t first = rows->first[0], end = rows->first[side - 1] + rows->used[side - 1];
	_cleanup_free_ uint8_t *narrow = malloc((size_t)image->height * side * 3);
	_cleanup_free_ int32_t *sums = malloc((size_t)side * 3 * sizeof(*sums));
	if (narrow == NULL || sums == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	for (uint32_t y = first; y < end; y++)
		resize_row(image->pixels + (size_t)y * image->width * 3, columns, side, narrow + (size_t)y * side * 3);
	resize_columns(narrow, rows, side, sums, ret_planes);
	return true;
}

bool image_fit(const struct image *image, uint32_t side, uint8_t *ret_planes, struct error *error)
{
	uint64_t width = image->width, height = image->height;
	uint64_t to_width = width <= height ? side : side * width / height;
	uint64_t to_height = width <= height ? side * height / width : side;
	struct taps columns = {0}, rows = {0};
	bool ok = (taps_init(image->width, (uint32_t)to_width, side, &columns) &&
		   taps_init(image->height, (uint32_t)to_height, side, &rows)) ||
		  error_set(error, ERROR_FAILED, "out of memory");
	ok = ok && resize(image, &columns, &rows, side, ret_planes, error);
	taps_fini(&columns);
	taps_fini(&rows);
	return ok;
}
