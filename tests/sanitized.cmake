# What a sanitizer's build runs: where memory is handled by hand, and where threads meet. Everything else runs in the release build alone,
# where it has the same lines.
set(PENSTOCK_TEST_PREFIX)
set(PENSTOCK_TEST_PATIENCE 1)
set(PENSTOCK_SANITIZER_ENVIRONMENT)
set(integration "integration\\.(abuse|faults|hostile|limits|strange_daemons|tls|train)")
set(address_tests
    "unit\\..*"
    "property\\..*"
    "integration\\.drain"
    ${integration})
set(thread_tests
    "unit\\.base\\.(buffer|lateness|log|log_rate)"
    "unit\\.dataset\\.read_ahead"
    "unit\\.(exchange|executor|limits|metrics|rpc|run|service|session)\\..*"
    "unit\\.device\\.(gradient_transfers|program)"
    "unit\\.device\\.cuda\\.(group|stand_in)"
    "property\\..*"
    ${integration})
# Whole networks and every operation once more: the same lines as unit.device.* and unit.device.cuda.program.
set(too_heavy "unit\\.device_on_stand_in\\..*|unit\\.device\\.golden|unit\\.device\\.cuda\\.(engines|kernel_resources)")

if(PENSTOCK_SANITIZE STREQUAL "thread")
  set(PENSTOCK_TEST_PREFIX tsan.)
  list(JOIN thread_tests "|" PENSTOCK_SANITIZED_TESTS)
  set(PENSTOCK_SANITIZER_ENVIRONMENT "TSAN_OPTIONS=suppressions=${CMAKE_CURRENT_SOURCE_DIR}/tsan.supp halt_on_error=1")
elseif(PENSTOCK_SANITIZE)
  set(PENSTOCK_TEST_PREFIX asan.)
  list(JOIN address_tests "|" PENSTOCK_SANITIZED_TESTS)
  set(PENSTOCK_SANITIZER_ENVIRONMENT ASAN_OPTIONS=detect_leaks=1
      "LSAN_OPTIONS=suppressions=${CMAKE_CURRENT_SOURCE_DIR}/lsan.supp print_suppressions=0")
endif()
if(PENSTOCK_SANITIZE)
  set(PENSTOCK_TEST_PATIENCE 6)
endif()

# Whether a sanitizer's build runs that test.
function(penstock_is_sanitized name ret_sanitized)
  set(${ret_sanitized} OFF PARENT_SCOPE)
  if("${name}" MATCHES "^(${PENSTOCK_SANITIZED_TESTS})$" AND NOT "${name}" MATCHES "^(${too_heavy})$")
    set(${ret_sanitized} ON PARENT_SCOPE)
  endif()
endfunction()
