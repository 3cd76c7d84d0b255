package io.pageflux.examples.image;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.examples.cli.CliException;
import org.junit.jupiter.api.Test;

class ThrottledProcessTest {

  @Test
  void processesThatItWouldBeAMistakeToStopAreRefused() throws Exception {
    long self = ProcessHandle.current().pid();
    for (long pid : new long[] {-5, 0, 1, self}) {
      assertThatThrownBy(() -> ThrottledProcess.requireSensible(pid))
          .isInstanceOf(CliException.class)
          .hasMessageContaining("but it was " + pid);
    }
    Process process = new ProcessBuilder("true").start();
    process.waitFor();
    assertThatThrownBy(() -> ThrottledProcess.requireSensible(process.pid()))
        .hasMessageContaining("there is no process");
  }
}
