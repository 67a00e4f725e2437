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
  add_executable(${target} ${PROJECT_SOURCE_DIR}/tests/unit/device/test_${file}.c)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(${target} PRIVATE PENSTOCK_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_link_libraries(${target} PRIVATE device_harness_on_stand_in PkgConfig::CMOCKA)
  set_target_properties(${target} PROPERTIES LINKER_LANGUAGE CXX)
  add_test(NAME unit.device_on_stand_in.${file} COMMAND ${target})
  set_tests_properties(unit.device_on_stand_in.${file} PROPERTIES LABELS unit TIMEOUT 300
                       ENVIRONMENT PENSTOCK_TEST_DEVICE=cuda)
endfunction()
