// Decoding images of every kind, refusing bad ones, and resizing as Pillow does.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <unistd.h>
#include <zlib.h>

#include "coordinator/dataset/image.h"
#include "tests/unit/dataset/pictures.h"

enum { WIDTH = 9, HEIGHT = 7, PIXELS = WIDTH * HEIGHT };

static char path[] = "/tmp/penstock-test-XXXXXX";
static uint8_t bytes[1 << 20];
static size_t size;

static int make_file(void **state)
{
	int descriptor = mkstemp(path);
	return descriptor < 0 || close(descriptor) < 0 ? -1 : 0;
}

static int remove_file(void **state)
{
	unlink(path);
	strcpy(path, "/tmp/penstock-test-XXXXXX");
	return 0;
}

static void read_back(void)
{
	FILE *file = fopen(path, "rb");
	assert_non_null(file);
	size = fread(bytes, 1, sizeof(bytes), file);
	assert_int_equal(fclose(file), 0);
	assert_true(size > 0 && size < sizeof(bytes));
}

// The file decodes to these (HEIGHT, WIDTH, 3), each byte at most `off` away.
static void assert_pixels(const uint8_t *expected, int off)
{
	struct image image;
	struct error error = {0};
	uint32_t width = 0, height = 0;
	read_back();
	if (!image_decode(bytes, size, &image, &error))
		fail_msg("%s", error.message);
	assert_int_equal(image.width, WIDTH);
	assert_int_equal(image.height, HEIGHT);
	for (int i = 0; i < PIXELS * 3; i++)
		if (abs(image.pixels[i] - expected[i]) > off)
			fail_msg("byte %d is %d and not %d", i, image.pixels[i], expected[i]);
	image_fini(&image);
	assert_true(image_dimensions(bytes, size, &width, &height, &error));
	assert_true(width == WIDTH && height == HEIGHT);
}

static void assert_refused(const char *expected)
{
	struct image image = {.width = 77};
	struct error error = {0};
	assert_false(image_decode(bytes, size, &image, &error));
	assert_int_equal(image.width, 77); // untouched
	assert_int_equal(error.code, ERROR_USAGE);
	if (strstr(error.message, expected) == NULL)
		fail_msg("expected \"%s\", got \"%s\"", expected, error.message);
}

static void decode_png_of_rgb_is_its_pixels(void **state)
{
	uint8_t rgb[PIXELS * 3];
	picture_fill(5, WIDTH, HEIGHT, rgb);
	assert_true(picture_write_png(path, WIDTH, HEIGHT, PNG_FORMAT_RGB, rgb, NULL, 0));
	assert_pixels(rgb, 0);
}

static void decode_png_drops_alpha(void **state)
{
	uint8_t rgb[PIXELS * 3], rgba[PIXELS * 4];
	picture_fill(5, WIDTH, HEIGHT, rgb);
	for (int i = 0; i < PIXELS; i++) {
		memcpy(rgba + 4 * i, rgb + 3 * i, 3);
		rgba[4 * i + 3] = (uint8_t)(i * 4);
	}
	assert_true(picture_write_png(path, WIDTH, HEIGHT, PNG_FORMAT_RGBA, rgba, NULL, 0));
	assert_pixels(rgb, 0);
}

static void decode_png_of_grey_is_three_equal_planes(void **state)
{
	uint8_t rgb[PIXELS * 3], grey[PIXELS * 2];
	for (int i = 0; i < PIXELS; i++) {
		grey[2 * i] = (uint8_t)(i * 4);
		grey[2 * i + 1] = (uint8_t)(255 - i);
		memset(rgb + 3 * i, i * 4, 3);
	}
	assert_true(picture_write_png(path, WIDTH, HEIGHT, PNG_FORMAT_GA, grey, NULL, 0));
	assert_pixels(rgb, 0);
	for (int i = 0; i < PIXELS; i++)
		grey[i] = (uint8_t)(i * 4);
	assert_true(picture_write_png(path, WIDTH, HEIGHT, PNG_FORMAT_GRAY, grey, NULL, 0));
	assert_pixels(rgb, 0);
}

// 4 colours: libpng writes 2 bits a pixel.
static void decode_png_of_a_palette_is_its_colours(void **state)
{
	static const uint8_t colors[4 * 3] = {10, 20, 30, 200, 100, 0, 255, 255, 255, 1, 2, 3};
	uint8_t rgb[PIXELS * 3], indices[PIXELS];
	for (int i = 0; i < PIXELS; i++) {
		indices[i] = (uint8_t)(i * 7 % 4);
		memcpy(rgb + 3 * i, colors + 3 * indices[i], 3);
	}
	assert_true(picture_write_png(path, WIDTH, HEIGHT, PNG_FORMAT_RGB_COLORMAP, indices, colors, 4));
	assert_pixels(rgb, 0);
}

// Not with png_image, whose 16 bits are linear light.
static void decode_png_of_16_bits_takes_the_high_bytes(void **state)
{
	png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
	png_infop info = png_create_info_struct(png);
	uint8_t rgb[PIXELS * 3], row[WIDTH * 6];
	FILE *file = fopen(path, "wb");
	picture_fill(9, WIDTH, HEIGHT, rgb);
	png_init_io(png, file);
	png_set_IHDR(png, info, WIDTH, HEIGHT, 16, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, 0, 0);
	png_write_info(png, info);
	for (int y = 0; y < HEIGHT; y++) {
		for (int i = 0; i < WIDTH * 3; i++) {
			row[2 * i] = rgb[y * WIDTH * 3 + i];
			row[2 * i + 1] = (uint8_t)(200 + i);
		}
		png_write_row(png, row);
	}
	png_write_end(png, info);
	png_destroy_write_struct(&png, &info);
	assert_int_equal(fclose(file), 0);
	assert_pixels(rgb, 0);
}

static void decode_jpeg_is_near_its_pixels(void **state)
{
	uint8_t rgb[PIXELS * 3], grey[PIXELS];
	for (int progressive = 0; progressive < 2; progressive++) {
		memset(rgb, 0, sizeof(rgb));
		for (int i = 0; i < PIXELS; i++)
			rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = grey[i] = (uint8_t)(40 + i * 2);
		assert_true(picture_write_jpeg(path, WIDTH, HEIGHT, 3, rgb, progressive));
		assert_pixels(rgb, 4);
		assert_true(picture_write_jpeg(path, WIDTH, HEIGHT, 1, grey, progressive));
		assert_pixels(rgb, 4);
	}
}

// Stored inverted, as Adobe does: a file's 255 is no ink.
static void decode_jpeg_of_cmyk_multiplies_the_inks(void **state)
{
	uint8_t rgb[PIXELS * 3], cmyk[PIXELS * 4];
	for (int i = 0; i < PIXELS; i++) {
		const uint8_t inks[4] = {255, 128, 0, 200}, colour[3] = {200, 100, 0};
		memcpy(cmyk + 4 * i, inks, 4);
		memcpy(rgb + 3 * i, colour, 3);
	}
	assert_true(picture_write_jpeg(path, WIDTH, HEIGHT, 4, cmyk, false));
	assert_pixels(rgb, 2);
}

static void decode_cut_file_is_refused(void **state)
{
	uint8_t rgb[PIXELS * 3];
	picture_fill(5, WIDTH, HEIGHT, rgb);
	assert_true(picture_write_png(path, WIDTH, HEIGHT, PNG_FORMAT_RGB, rgb, NULL, 0));
	read_back();
	for (size_t whole = size; size > 8; size--)
		if (size < whole)
			assert_refused("does not decode: ");
	assert_refused("does not decode: it is cut short");
	assert_true(picture_write_jpeg(path, WIDTH, HEIGHT, 3, rgb, true));
	read_back();
	for (size_t whole = size; size > 3; size--)
		if (size < whole)
			assert_refused("does not decode: ");
	size = 2;
	assert_refused("is neither JPEG nor PNG");
	size = 0;
	assert_refused("is empty");
}

static void put_32(uint8_t *at, uint32_t number)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(number >> (24 - 8 * i));
}

static void decode_bomb_is_refused_by_its_dimensions(void **state)
{
	uint8_t rgb[PIXELS * 3];
	picture_fill(5, WIDTH, HEIGHT, rgb);
	assert_true(picture_write_png(path, WIDTH, HEIGHT, PNG_FORMAT_RGB, rgb, NULL, 0));
	read_back();
	put_32(bytes + 16, 60000); // of IHDR, whose check sum is over 17 bytes from 12 on
	put_32(bytes + 20, 60000);
	put_32(bytes + 29, (uint32_t)crc32(0, bytes + 12, 17));
	assert_refused("is 60000 x 60000; the maximum is 65500 on a side and 67 million pixels");
	put_32(bytes + 20, 70000);
	put_32(bytes + 29, (uint32_t)crc32(0, bytes + 12, 17));
	assert_refused("is 60000 x 70000");
	assert_true(picture_write_jpeg(path, WIDTH, HEIGHT, 3, rgb, false));
	read_back();
	for (size_t i = 2; i + 9 < size; i++)
		if (bytes[i] == 0xff && bytes[i + 1] == 0xc0) // the frame: height and width stand 5 bytes on
			memcpy(bytes + i + 5, "\xf0\x00\xf0\x00", 4);
	assert_refused("is 61440 x 61440");
}

// A scan that refines nothing costs a few bytes, and a pass over the whole image.
static void decode_jpeg_of_too_many_scans_is_refused(void **state)
{
	static uint8_t repeated[1 << 20];
	uint8_t rgb[PIXELS * 3];
	size_t last = 0, used = 0;
	picture_fill(5, WIDTH, HEIGHT, rgb);
	assert_true(picture_write_jpeg(path, WIDTH, HEIGHT, 3, rgb, true));
	read_back();
	for (size_t i = 0; i + 1 < size; i++)
		if (bytes[i] == 0xff && bytes[i + 1] == 0xda)
			last = i;
	memcpy(repeated, bytes, used = size - 2); // without the end's marker
	for (int i = 0; i < 300; i++) {
		memcpy(repeated + used, bytes + last, size - 2 - last);
		used += size - 2 - last;
	}
	memcpy(repeated + used, bytes + size - 2, 2);
	memcpy(bytes, repeated, size = used + 2);
	assert_refused("it has more than 200 scans");
}

static void fit_is_what_pillow_makes(void **state)
{
	static const struct {
		uint32_t width, height, side, crc;
	} cases[] = {
		// From tests/golden/image_fit.py.
		{32, 32, 32, 0x54cf983f},    {64, 48, 32, 0x8bf25cf9}, {48, 64, 32, 0xa28ddff2},
		{33, 32, 32, 0x54cf983f},    {35, 32, 32, 0xf27e7d2e}, {37, 90, 7, 0x5641f9b8},
		{200, 11, 5, 0xb89107f6},    {5, 3, 16, 0x2307fb75},   {1, 40, 8, 0x201e3144},
		{500, 375, 224, 0x537e152d},
	};
	static uint8_t pixels[500 * 375 * 3], planes[224 * 224 * 3];
	for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
		struct image image = {pixels, cases[n].width, cases[n].height};
		struct error error = {0};
		for (uint32_t i = 0; i < image.width * image.height * 3; i++) {
			uint32_t x = i / 3 % image.width, y = i / 3 / image.width, c = i % 3;
			pixels[i] = (uint8_t)(x * x * 3 + y * 7 + x * y + c * 85);
		}
		assert_true(image_fit(&image, cases[n].side, planes, &error));
		uint32_t side = cases[n].side, crc = (uint32_t)crc32(0, planes, 3 * side * side);
		if (crc != cases[n].crc)
			fail_msg("%u x %u to %u: 0x%08x", cases[n].width, cases[n].height, side, crc);
	}
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, make_file, remove_file)
	const struct CMUnitTest tests[] = {
		CASE(decode_png_of_rgb_is_its_pixels),
		CASE(decode_png_drops_alpha),
		CASE(decode_png_of_grey_is_three_equal_planes),
		CASE(decode_png_of_a_palette_is_its_colours),
		CASE(decode_png_of_16_bits_takes_the_high_bytes),
		CASE(decode_jpeg_is_near_its_pixels),
		CASE(decode_jpeg_of_cmyk_multiplies_the_inks),
		CASE(decode_cut_file_is_refused),
		CASE(decode_bomb_is_refused_by_its_dimensions),
		CASE(decode_jpeg_of_too_many_scans_is_refused),
		CASE(fit_is_what_pillow_makes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
