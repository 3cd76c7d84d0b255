package io.pageflux.qemu.stream;

import static io.pageflux.qemu.stream.StreamBytes.page;
import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.qemu.stream.QemuStreamSummary.Count;
import io.pageflux.qemu.stream.QemuStreamSummary.Device;
import io.pageflux.qemu.stream.QemuStreamSummary.HotPage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.channels.Channels;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.junit.jupiter.api.Test;

class QemuInspectionTest {

  private static QemuStreamSummary inspect(StreamBytes stream) throws IOException {
    return QemuInspection.inspect(
        Channels.newChannel(new ByteArrayInputStream(stream.toBytes())), 4096);
  }

  private static StreamBytes someRecords() {
    StreamBytes stream =
        StreamBytes.upToPart()
            .zero("pc.ram", 0)
            .rawContinued(1, page(1))
            .deltaContinued(1, new byte[] {1, 1, 1})
            .deltaContinued(1, new byte[0])
            .record(2, 0x22)
            .u8(7);
    return stream.zero("pc.bios", 1).zero("pc.ram", 2);
  }

  @Test
  void recordsAreCountedByBlockAndForm() throws IOException {
    QemuStreamSummary summary = inspect(someRecords().finish());
    assertThat(summary.error()).isEmpty();
    assertThat(summary.machineType()).contains("pc-i440fx-7.2");
    assertThat(summary.sections()).isEqualTo(3);
    assertThat(summary.tailBytes()).isEqualTo(6);
    assertThat(summary.devices()).isEmpty();
    QemuStreamSummary.Block ram = summary.blocks().get(0);
    assertThat(ram.counts())
        .isEqualTo(
            Map.of(
                QemuRecordType.ZERO, new Count(2, 2 * 16),
                QemuRecordType.PAGE, new Count(1, 8 + 4096),
                QemuRecordType.XBZRLE, new Count(1, 14),
                QemuRecordType.EMPTY_XBZRLE, new Count(1, 11),
                QemuRecordType.FILLED, new Count(1, 9)));
    assertThat(ram.hottest()).containsExactly(new HotPage(1, 3), new HotPage(2, 2));
    assertThat(summary.total(QemuRecordType.ZERO)).isEqualTo(new Count(3, 2 * 16 + 17));
  }

  @Test
  void whatCameBeforeAFaultIsSummarised() throws IOException {
    QemuStreamSummary summary = inspect(someRecords().record(0, 0x80));
    assertThat(summary.error()).hasValueSatisfying(e -> assertThat(e).hasMessageContaining("RDMA"));
    assertThat(summary.blocks()).hasSize(2);
    assertThat(summary.total(QemuRecordType.PAGE).records()).isEqualTo(1);
  }

  @Test
  void theDevicesAreFoundInTheDescriptionAtTheEnd() throws IOException {
    String json =
        """
        {"page_size": 4096, "devices": [
          {"name": "timer", "instance_id": 0, "version": 2, "vmsd_name": "timer", "fields": [
            {"name": "ticks", "type": "int64", "size": 8},
            {"name": "more", "array_len": 3, "type": "struct", "size": 16,
             "struct": {"fields": [{"name": "x", "size": 16}]}}],
           "subsections": [{"vmsd_name": "timer/sub", "version": 1,
             "fields": [{"name": "y", "size": 5}]}]},
          {"name": "cpu", "instance_id": 1, "version": 12, "fields": []}]}
        """;
    byte[] text = json.getBytes(StandardCharsets.UTF_8);
    StreamBytes stream =
        someRecords().eos().footer().end().eos().footer().hex("04 00000000 06 00000000 00");
    QemuStreamSummary summary = inspect(stream.u8(6).be32(text.length).bytes(text));
    assertThat(summary.devices())
        .containsExactly(new Device("timer", 0, 2, 8 + 3 * 16 + 5), new Device("cpu", 1, 12, 0));
  }

  @Test
  void aDescriptionThatIsNoneIsNoError() throws IOException {
    StreamBytes stream = someRecords().eos().footer().end().eos().footer();
    QemuStreamSummary summary =
        inspect(stream.hex("00 06 00000005").bytes("[[[[[".getBytes(StandardCharsets.UTF_8)));
    assertThat(summary.error()).isEmpty();
    assertThat(summary.devices()).isEmpty();
  }
}
