// Writes an order as Apache Avro's Java library does: the bytes behind `java_avro_order.json`, made once.
//   mvn dependency:get -Dartifact=org.apache.avro:avro:1.12.0, then: javac and java OrderRecords.java order.avsc
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.math.BigDecimal;
import java.time.Instant;
import java.time.LocalDate;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import org.apache.avro.Conversions;
import org.apache.avro.Schema;
import org.apache.avro.data.TimeConversions;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.EncoderFactory;

public class OrderRecords {
    static final GenericData DATA = new GenericData();

    static GenericRecord record(Schema schema, Map<String, Object> values) {
        GenericRecord made = new GenericData.Record(schema);
        values.forEach(made::put);
        return made;
    }

    public static void main(String[] args) throws Exception {
        DATA.addLogicalTypeConversion(new Conversions.DecimalConversion());
        DATA.addLogicalTypeConversion(new Conversions.UUIDConversion());
        DATA.addLogicalTypeConversion(new TimeConversions.DateConversion());
        DATA.addLogicalTypeConversion(new TimeConversions.TimestampMicrosConversion());
        DATA.addLogicalTypeConversion(new TimeConversions.TimestampMillisConversion());
        Schema schema = new Schema.Parser().parse(new File(args[0]));
        Schema line = schema.getField("lines").schema().getElementType();
        Schema merchant = schema.getField("merchant").schema();
        for (int number = 0; number < 6; number++) {
            GenericRecord order = new GenericData.Record(schema);
            order.put("id", UUID.fromString("00000000-0000-4000-8000-00000000000" + number));
            order.put("type", new GenericData.EnumSymbol(schema.getField("type").schema(), number % 3 == 2 ? "SHIPPED" : "PLACED"));
            order.put("order_id", "ord-" + number % 2);
            order.put("merchant", record(merchant, Map.of("id", 434L, "name", "Händler")));
            order.put("total", new BigDecimal("12.30").add(new BigDecimal(number)));
            order.put("discount", number % 2 == 0 ? null : new BigDecimal("-0.0050"));
            order.put("created_at", Instant.parse("2026-11-28T08:00:00.123456Z").plusSeconds(number));
            order.put("ship_on", number % 2 == 0 ? LocalDate.parse("2026-12-24") : null);
            order.put("note", number % 3 == 0 ? (Object) "please" : number % 3 == 1 ? (Object) 7L : null);
            order.put("labels", new TreeMap<>(Map.of("campaign", "autumn")));
            order.put("lines", List.of(
                record(line, Map.of("sku", "A-1", "price", new BigDecimal("9.99"), "quantity", 3)),
                record(line, Map.of("sku", "B-2", "price", new BigDecimal("0.00"), "quantity", 1))));
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            var encoder = EncoderFactory.get().binaryEncoder(bytes, null);
            new GenericDatumWriter<GenericRecord>(schema, DATA).write(order, encoder);
            encoder.flush();
            System.out.println(HexFormat.of().formatHex(bytes.toByteArray()));
        }
    }
}
