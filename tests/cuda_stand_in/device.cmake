# device_on_stand_in: the library `device` with the CUDA device in its table, on the stand-in for CUDA (target cuda_stand_in), for
# the suite that every device passes.
#
# The C files are those of the real device, all but libraries.c.
find_package(OpenMP REQUIRED COMPONENTS C)
add_library(device_on_stand_in STATIC
  ${PROJECT_SOURCE_DIR}/stage_server/device/device.c
  $<TARGET_OBJECTS:device_objects>
  ${PENSTOCK_CUDA_SOURCES})
target_include_directories(device_on_stand_in PUBLIC ${PROJECT_SOURCE_DIR})
target_include_directories(device_on_stand_in SYSTEM PRIVATE ${PENSTOCK_CUDA_INCLUDES})
target_compile_definitions(device_on_stand_in PRIVATE PENSTOCK_CUDA)
target_link_libraries(device_on_stand_in PUBLIC base model cuda_stand_in
                      PRIVATE ${PENSTOCK_ONEDNN} OpenMP::OpenMP_C Threads::Threads m)

# penstock_device_test_on_stand_in(FILE): tests/unit/device/test_FILE.c once more, as unit.device_on_stand_in.FILE. Needs
# device_harness_on_stand_in, the harness linked with device_on_stand_in.
function(penstock_device_test_on_stand_in file)
  set(target test.device_on_stand_in.${file})
  penstock_test_program(${target} unit.device_on_stand_in.${file} ${PROJECT_SOURCE_DIR}/tests/unit/device/test_${file}.c)
  target_link_libraries(${target} PRIVATE device_harness_on_stand_in PkgConfig::CMOCKA)
  set_target_properties(${target} PROPERTIES LINKER_LANGUAGE CXX)
  penstock_add_test(unit.device_on_stand_in.${file} SECONDS 600 LABELS unit ENVIRONMENT PENSTOCK_TEST_DEVICE=cuda COMMAND ${target})
endfunction()
