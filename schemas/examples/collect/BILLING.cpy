      * Orders as the nightly billing job writes them: a header, and the lines of that order behind it.
       01  BILLING-RECORD.
           05  RECORD-KIND           PIC X(1).
           05  ORDER-HEADER.
               10  ORDER-NUMBER      PIC 9(8).
               10  BILLED-AT         PIC 9(14).
               10  CUSTOMER-NUMBER   PIC X(8).
               10  AMOUNT            PIC S9(9)V99 COMP-3.
               10  CURRENCY          PIC X(3).
           05  ORDER-LINE REDEFINES ORDER-HEADER.
               10  ARTICLE           PIC X(10).
               10  QUANTITY          PIC S9(5) COMP.
           05  TRAILER REDEFINES ORDER-HEADER.
               10  RECORD-COUNT      PIC 9(8).
